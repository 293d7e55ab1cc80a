"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

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


def positive_finite(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Accept a number above zero; refuse zero, negative numbers, inf and nan."""
    if not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"expected a finite number above 0, got {value:g}")
    return value


def start_engine(module: str = "gammasky.engine.model") -> None:
    """Import the engine as far as `module`; set double precision and the compilation cache before anything is traced.

    Ctrl-C waits until that is done: in the middle of an extension module's import it would be another error, or lost.
    """
    from gammasky.engine.interrupt import Interrupts

    with Interrupts() as interrupts:
        from gammasky.engine.runtime import configure

        configure()
        import_module(module)
    interrupts.raise_if_pending()
