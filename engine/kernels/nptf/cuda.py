"""Launcher of the NPTF kernels on a GPU: value and gradient of B parameter points at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.nptf.plan import LANES, PixelPlan

#: Threads of a block of the kernels that serve counts up to TEAM_COUNT, and larger ones.
TEAM_THREADS, LARGE_THREADS, TEAM_COUNT = 256, 512, 127
#: Threads of a block of the kernel that adds up regions, and blocks on a multiprocessor: small ones reach all of these.
SUM_THREADS, SUM_BLOCKS = 64, 16
#: Blocks side by side on a multiprocessor: their rows of 100 counts just fit its first-level cache.
PER_PROCESSOR = 4
#: Blocks that may run side by side, on 160 multiprocessors; and what their rows may take [float64], but for a few.
MOST_BLOCKS, FEWEST_BLOCKS, MOST_ROOM = 640, 64, 2**27


class Layout(NamedTuple):
    """The arrays of a `PixelPlan` that the device kernel takes; see there."""

    lanes: Any
    group_region: Any
    group_counts: Any
    counts: Any
    order: Any

    @classmethod
    def of(cls, plan: PixelPlan) -> Layout:
        return cls(plan.lanes, plan.group_region, plan.group_counts, plan.counts, plan.order)


def prepare() -> None:
    """Compile and load the kernels on the current device."""
    gpu.prepare("nptf", "nptf_teams", "nptf_large", "nptf_pixels", "nptf_regions")


def blocks_of(items: int, numbers: int) -> int:
    """Blocks that have room to work in, of so many float64 each, for so many pieces of work.

    Room is by block, not by piece: it does not grow with the number of points once they fill a GPU.
    """
    return min(items, max(FEWEST_BLOCKS, min(MOST_BLOCKS, MOST_ROOM // numbers)))


class Scratch(NamedTuple):
    """Room to work in: shapes for B points with G groups and x of shape (I, R, M + 1), or the arrays.

    Attributes:
        rows (blocks, 3, M + 1, LANES): of pixels that need scaling.
        left (B, G): groups that have some, or large counts; int32.
        partial (B, G, I, M + 1): d/dX of each group; without a gradient there is none.
    """

    rows: Any
    left: Any
    partial: Any

    @classmethod
    def shapes(cls, points: int, groups: int, x_shape: tuple[int, ...]) -> Scratch:
        """The shapes."""
        rows = (3, x_shape[-1], LANES)
        partial = (points, groups, x_shape[0], x_shape[-1])
        return cls((blocks_of(points * groups, math.prod(rows)), *rows), (points, groups), partial)


def evaluate(
    layout: Layout, log_p: Any, scratch: Scratch, mean: Any, templates: Any, x: Any, cotangent: Any = None,
    gradient: tuple[Any, Any, Any] | None = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient` on the current stream; see `cpu.evaluate`.

    A count that x does not reach gives NaN for its pixel: its value is on the device, where nothing can be refused.

    Args:
        layout: arrays of the plan, each with one more leading axis, of length 1 or a number that divides B.
        log_p (B, P), mean (B, P), templates (B, I, P), x (B, I, R, M + 1), cotangent (B, P), gradient: as there; of
            inputs that are the same at all points the leading axis may be 1.
        scratch: arrays of these shapes.
    """
    batch, pixels = log_p.shape
    populations, regions, terms = x.shape[1:]
    groups, plans = layout.group_region.shape[1], len(layout.counts)
    cotangent = mean if cotangent is None else cotangent
    d_mean, d_templates, d_x = gradient or (log_p, log_p, log_p)  # not touched without a gradient
    partial = log_p if scratch.partial is None else scratch.partial
    sizes = (
        batch, plans, *(len(array) for array in (mean, templates, x, cotangent)),
        pixels, populations, regions, terms, groups, int(gradient is not None),
    )  # fmt: skip
    inputs, outputs = (mean, templates, x, cotangent), (log_p, d_mean, d_templates, partial, scratch.left)
    gpu.launch("nptf", "nptf_teams", batch * groups, TEAM_THREADS, *sizes, *layout, *inputs, *outputs)
    if terms - 1 > TEAM_COUNT:
        blocks = min(gpu.blocks_for(batch * groups, 1, 1), len(scratch.rows))
        gpu.launch("nptf", "nptf_large", blocks, LARGE_THREADS, *sizes, *layout, *inputs, *outputs, scratch.rows)
    blocks = min(gpu.blocks_for(batch * groups, 1, PER_PROCESSOR), len(scratch.rows))
    gpu.launch("nptf", "nptf_pixels", blocks, LANES, *sizes, *layout[:-1], *inputs, *outputs, scratch.rows)
    if gradient is not None:
        blocks = gpu.blocks_for(batch * populations * regions * terms, SUM_THREADS, SUM_BLOCKS)
        gpu.launch(
            "nptf", "nptf_regions", blocks, SUM_THREADS, batch, plans, populations, regions, terms, groups,
            layout.group_region, layout.group_counts, scratch.partial, d_x,
        )  # fmt: skip
