"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


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


def start_engine() -> None:
    """Set double precision and the compilation cache, before anything is traced."""
    from gammasky.engine.runtime import configure

    configure()
