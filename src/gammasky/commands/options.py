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


def svi_options(steps: int) -> Callable[[Command], Command]:
    """Add the options of a variational fit; `steps` is their default."""
    options = (
        click.option(
            "--guide",
            default="flow",
            show_default=True,
            metavar="NAME",
            help="svi: flow, iaf (that of arXiv:2604.08648), mvn or diagonal.",
        ),
        click.option(
            "--steps", type=click.IntRange(min=1), default=steps, show_default=True, help="svi: optimiser steps."
        ),
        click.option(
            "--particles", type=click.IntRange(min=1), default=8, show_default=True, help="svi: draws per step."
        ),
        click.option(
            "--lr",
            "learning_rate",
            type=float,
            callback=positive_finite,
            help="svi: learning rate of Adam.  [default: 3e-3 for flow, else 3e-4]",
        ),
        click.option(
            "--schedule",
            metavar="NAME",
            help="svi: rate constant or cosine.  [default: cosine for flow, else constant]",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


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
