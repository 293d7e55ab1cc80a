"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from gammasky.engine.errors import InputError
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.option import Option
from gammasky.engine.infer.settings import METHOD, N_SKIES, SEED

_ARGUMENT = re.compile(r"`(\w+)(?:=([^`\s]+))?`")  # `out`, `resume=True`, `address='local'`
_QUOTES = "'\""
ALIASES = {"learning_rate": ("--lr",)}  # short names of options
Command = TypeVar("Command", bound=Callable[..., Any])


class NamedPath(click.Path):
    """A path that is not empty: an empty one, as from an unset variable, would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a path, got an empty one", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = NamedPath(file_okay=False, path_type=Path)
FILE = NamedPath(dir_okay=False, path_type=Path)


def data_options(command: Command) -> Command:
    """Add `--data` and `--data-dir`."""
    command = click.option(
        "--data-dir",
        type=FOLDER,
        metavar="DIR",
        help="Folder of the data files; else $GAMMASKY_DATA, the per-user cache or ../shared/NAME.",
    )(command)
    return click.option(
        "--data",
        "data_name",
        default="fermi",
        show_default=True,
        metavar="NAME|PATH",
        help="A data set by name (see 'gammasky data list'), or a dataset.toml or its folder.",
    )(command)


def skies_option(**settings: Any) -> Callable[[Command], Command]:
    """Add `--skies`, the number of simulated skies that honest errors are measured on."""
    given = {"default": N_SKIES, "show_default": True, **settings}
    return click.option("--skies", type=int, help="Simulated skies that honest errors are measured on.", **given)


def method_options(**defaults: Any) -> Callable[[Command], Command]:
    """Add `--method`, `--seed` and the settings of all methods; those that are not given are None.

    `defaults` are shown in place of the settings' own; the command puts them in.
    """
    return lambda command: _with_options(command, defaults)


def _with_options(command: Command, defaults: dict[str, Any]) -> Command:
    for name, (owner, option) in reversed(_settings().items()):
        flags = [*ALIASES.get(name, ()), option_of(name)]
        text, check = f"{owner}: {option.help}.", _checked(option)
        if option.kind is bool:
            if option.default:  # what is on by default can be turned off
                flags = [f"{flags[-1]}/{option_of('no_' + name)}"]
                text += "  [default: on]"
            command = click.option(*flags, name, is_flag=True, default=None, callback=check, help=text)(command)
            continue
        text += f"  [default: {defaults.get(name) or option.default_text or option.default}]"
        metavar = "NAME" if option.kind is str else None
        command = click.option(*flags, name, type=option.kind, metavar=metavar, callback=check, help=text)(command)
    methods = "; ".join(f"{name} ({method.summary})" for name, method in METHODS.items())
    command = click.option(
        "--seed", type=int, default=SEED.default, show_default=True, callback=_checked(SEED), help=f"{SEED.help}."
    )(command)
    return click.option(
        "--method", default=METHOD.default, show_default=True, metavar="NAME", callback=_checked(METHOD), help=methods
    )(command)


def _settings() -> dict[str, tuple[str, Option]]:
    """Every setting, with the name of the first method that has it."""
    found: dict[str, tuple[str, Option]] = {}
    for method in METHODS.values():
        for name, option in method.options.items():
            found.setdefault(name, (method.name, option))
    return found


def _checked(option: Option) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Refuse a value that the setting cannot have, naming the option; None is one that is not given."""

    def check(_context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else option.checked(str(parameter.name), value)
        except InputError as error:
            raise click.BadParameter(str(error).removeprefix(f"{parameter.name}: ")) from None

    return check


def option_of(name: str) -> str:
    """The option of an argument of that name."""
    return f"--{name.replace('_', '-')}"


def words_of(name: str, value: Any) -> list[str]:
    """The words of a command that set a setting."""
    if isinstance(value, bool):
        return [option_of(name if value else f"no_{name}")]
    return [option_of(name), str(value)]


def in_options(message: str, command: click.Command) -> str:
    """A message with the options of a command in place of those of its arguments that stand in backquotes."""
    options = {str(parameter.name): parameter.opts[-1] for parameter in command.params if parameter.opts[-1][:1] == "-"}
    off = {
        str(parameter.name): parameter.secondary_opts[-1] for parameter in command.params if parameter.secondary_opts
    }

    def told(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in options:
            return found.group(0)
        if value == "False":
            return off[name]
        return options[name] if value in (None, "True") else f"{options[name]} {value.strip(_QUOTES)}"

    return _ARGUMENT.sub(told, message)


def positive_finite(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Accept a number above zero, or none; refuse zero, negative numbers, inf and nan."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"expected a finite number above 0, got {value:g}")
    return value


def start_engine(module: str = "gammasky.engine.model") -> None:
    """Import the engine as far as `module`; set double precision and the compilation cache before anything is traced.

    Ctrl-C waits until that is done: in the middle of an extension module's import it would be another error, or lost.
    """
    from gammasky.engine.interrupt import Interrupts

    with Interrupts():
        from gammasky.engine.runtime import configure

        configure()
        import_module(module)
