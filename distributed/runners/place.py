"""Where members run: in this process, or on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gammasky.distributed.runners.base import Runner


def runner_at(address: str | None, workers: int | None = None, lanes: int = 1) -> Runner:
    """A place for members: this process alone, or Ray at `address` with so many workers.

    Args:
        address: of a Ray cluster, see `RayRunner`; None: this process.
        workers: processes at work at once; None: as many as there is room for.
        lanes: members of one structure side by side in each process; 1: one after the other.

    Raises:
        InputError: workers in this process, or not a positive whole number of them or of lanes.
    """
    if address is None:
        from gammasky.distributed.runners.inline import InlineRunner
        from gammasky.engine.errors import InputError

        if workers is not None:
            raise InputError(f"workers: this process is one, got {workers!r}; give an `address`, such as 'local'")
        return InlineRunner(lanes)
    from gammasky.distributed.runners.ray import RayRunner

    return RayRunner(address, workers, lanes)
