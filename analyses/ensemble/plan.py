"""What an ensemble will do, before it does anything: its members, their sizes and what they cost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.expansion import Size
from gammasky.distributed.member import Member

if TYPE_CHECKING:
    from rich.table import Table


def plan(ensemble: Ensemble) -> list[tuple[Member, Size]]:
    """Every member with the size of its fit.

    Raises:
        InputError: as of `Ensemble.members`.
    """
    return [(member, ensemble.expansion.size(member)) for member in ensemble.members()]


def plan_table(ensemble: Ensemble, workers: int = 1) -> Table:
    """The plan as a table for the terminal, with the total on that many workers.

    Raises:
        InputError: as of `Ensemble.members`.
    """
    from rich.markup import escape
    from rich.table import Table

    entries = plan(ensemble)
    costs = [member.cost for member, _ in entries]
    total = f"{clock(sum(costs))} of work, {clock(elapsed(costs, workers))} on {workers} worker{'s' * (workers > 1)}"
    number = f"{len(entries)} member{'s' * (len(entries) > 1)}"
    table = Table(title=escape(ensemble.name), caption=f"{number}, about {total}")
    table.add_column("member", overflow="fold")
    for heading in ("pixels", "photons", "parameters", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for member, size in entries:
        numbers = (f"{value:,d}" for value in (size.n_pixels, size.n_photons, size.n_parameters))
        table.add_row(escape(member.name), *numbers, clock(member.cost))
    return table


def elapsed(costs: Sequence[float], workers: int) -> float:
    """Time until the last is done, if each worker takes the next member as soon as it is free."""
    ends = [0.0] * workers
    for cost in costs:
        heapq.heapreplace(ends, ends[0] + cost)
    return max(ends)


def clock(seconds: float) -> str:
    """A duration in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
