"""The options that say where the fits of a command run; one set for all commands that make many."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

allow_mixed_option = click.option(
    "--allow-mixed",
    multiple=True,
    metavar="PACKAGE",
    help="Allow fits by several versions of this one (gammasky, jax, jaxlib, numba, cupy); may be repeated.",
)

lanes_option = click.option(
    "--lanes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Fits of one structure side by side in each process; more than one for a GPU, see docs/gpu.md.",
)

keep_going_option = click.option("--keep-going", is_flag=True, help="Also where most fits fail with the same error.")


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that runs many fits: where, and what it puts up with."""
    options = (
        places,
        lanes_option,
        keep_going_option,
        allow_mixed_option,
        click.option("--quiet", is_flag=True, help="No live progress."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which takes what `runner_at` takes: `address` and `workers`."""

    @click.option(
        "--executor",
        type=click.Choice(["ray", "inline"]),
        default="ray",
        show_default=True,
        help="inline: one after the other in this process, without Ray; the results are the same.",
    )
    @click.option(
        "--address",
        default="auto",
        show_default=True,
        metavar="ADDRESS",
        help="A Ray cluster: auto (a running one, else this machine), local, host:port or ray://host:port.",
    )
    @click.option(
        "--workers", type=click.IntRange(min=1), help="Processes that fit at once.  [as many as there is room for]"
    )
    @wraps(command)
    def placed(*arguments: Any, executor: str, address: str, workers: int | None, **options: Any) -> Any:
        if executor == "inline" and (workers, address) != (None, "auto"):
            raise click.UsageError("--executor inline is this process alone: leave out --workers and --address")
        place = None if executor == "inline" else address
        return command(*arguments, address=place, workers=workers, **options)

    return placed
