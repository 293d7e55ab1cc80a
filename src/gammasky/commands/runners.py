"""Where the fits of a command run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gammasky.distributed.runners.base import Runner

allow_mixed_option = click.option(
    "--allow-mixed",
    multiple=True,
    metavar="PACKAGE",
    help="Allow fits by several versions of this one (gammasky, jax, jaxlib, numba, cupy); may be repeated.",
)


def runner_of(address: str | None, workers: int | None) -> Runner:
    """A place for fits: this process alone, one after the other, or Ray at `address` with so many workers.

    Args:
        address: of a Ray cluster, see `RayRunner`; None: this process.
        workers: fits at once; None: as many as there is room for.
    """
    if address is None:
        from gammasky.distributed.runners.inline import InlineRunner

        return InlineRunner()
    from gammasky.distributed.runners.ray import RayRunner

    return RayRunner(address, workers)
