"""What an ensemble will do, before it does anything: its members, their sizes and what they cost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.distributed.member import Resources

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table


def plan_frame(expansion: Expansion) -> DataFrame:
    """Every member, by its name: its choices, the size of its fit, and about how many seconds of a core it takes.

    Raises:
        InputError: as of `Ensemble.plan`.
    """
    import pandas

    rows = [
        {"name": member.name, **member.labels, **asdict(expansion.size(member)), "seconds": member.cost}
        for member in expansion.members
    ]
    return pandas.DataFrame(rows).set_index("name")


def plan_table(expansion: Expansion, workers: int = 1) -> Table:
    """The plan as a table for the terminal, with the total on that many workers.

    Raises:
        InputError: as of `Ensemble.plan`.
    """
    from rich.markup import escape
    from rich.table import Table

    members = expansion.members
    costs = [member.cost for member in members]
    total = f"{clock(sum(costs))} of work, {clock(elapsed(costs, workers))} on {workers} worker{'s' * (workers > 1)}"
    number = f"{len(members)} member{'s' * (len(members) > 1)}"
    table = Table(title=escape(expansion.ensemble.name), caption=f"{number}, about {total}")
    table.add_column("member", overflow="fold")
    own = any(member.resources for member in members)
    for heading in ("pixels", "photons", "parameters", *(["on"] if own else []), "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for member in members:
        size = expansion.size(member)
        numbers = (f"{value:,d}" for value in (size.n_pixels, size.n_photons, size.n_parameters))
        on = [resources_told(member.resources or expansion.ensemble.resources)] if own else []
        table.add_row(escape(member.name), *numbers, *on, clock(member.cost))
    return table


def resources_told(resources: Resources) -> str:
    """What a member is given, in a few words."""
    kind = f" ({resources.accelerator})" if resources.accelerator else ""
    parts = [f"{resources.cpus} CPU{'s' * (resources.cpus > 1)}"]
    parts += [f"{resources.gpus:g} GPU{kind}"] if resources.gpus else []
    parts += [f"{resources.memory_gb:g} GB"] if resources.memory_gb else []
    return ", ".join(parts)


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
