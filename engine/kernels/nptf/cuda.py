"""Launcher of the NPTF kernels on a GPU: value and gradient of B parameter points at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.nptf.plan import LANES, PixelPlan

#: Partial sums of d/dX for each point, and blocks that share its groups: with a few points they fill a GPU, and with
#: many of them the scratch stays small.
SLOTS = 64
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

    @classmethod
    def of(cls, plan: PixelPlan) -> Layout:
        return cls(plan.lanes, plan.group_region, plan.group_counts, plan.counts)


def prepare() -> None:
    """Compile and load the kernels on the current device."""
    gpu.prepare("nptf", "nptf_pixels", "nptf_sum")


def blocks_of(points: int, groups: int, numbers: int) -> int:
    """Blocks that have room to work in, where each of them takes so many float64.

    Room is by block, not by point: it does not grow with the number of points once they fill a GPU.
    """
    most = max(FEWEST_BLOCKS, min(MOST_BLOCKS, MOST_ROOM // numbers))
    return min(points * min(groups, SLOTS), most)


def scratch_shapes(points: int, groups: int, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of `scratch` and `partial` for B points with G groups and x of shape (I, R, M + 1)."""
    rows = (3, x_shape[-1], LANES)
    return (blocks_of(points, groups, math.prod(rows)), *rows), (points, min(groups, SLOTS), *x_shape)


def evaluate(
    layout: Layout, log_p: Any, scratch: Any, mean: Any, templates: Any, x: Any, cotangent: Any = None,
    gradient: tuple[Any, Any, Any] | None = None, partial: Any = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient` on the current stream; see `cpu.evaluate`.

    A count that x does not reach gives NaN for its pixel: its value is on the device, where nothing can be refused.

    Args:
        layout: arrays of the plan, each with one more leading axis, of length 1 or a number that divides B.
        log_p (B, P), mean (B, P), templates (B, I, P), x (B, I, R, M + 1), cotangent (B, P), gradient: as there; of
            inputs that are the same at all points the leading axis may be 1.
        scratch (blocks, 3, M + 1, LANES), partial (B, slots, I, R, M + 1): room to work in, of `scratch_shapes`.
    """
    batch, pixels = log_p.shape
    populations, regions, terms = x.shape[1:]
    groups = layout.group_region.shape[1]
    slots, cotangent = min(groups, SLOTS), mean if cotangent is None else cotangent
    d_mean, d_templates, d_x = gradient or (log_p, log_p, log_p)  # not touched without a gradient
    gpu.launch(
        "nptf", "nptf_pixels", min(gpu.blocks_for(batch * slots, 1, PER_PROCESSOR), scratch.shape[0]), LANES,
        batch, *(len(array) for array in (layout.counts, mean, templates, x, cotangent)),
        pixels, populations, regions, terms, groups, slots, int(gradient is not None),
        *layout, mean, templates, x, cotangent,
        log_p, d_mean, d_templates, scratch if partial is None else partial, scratch,
    )  # fmt: skip
    if gradient is not None:
        size = populations * regions * terms
        blocks = gpu.blocks_for(batch * size, gpu.THREADS, PER_PROCESSOR)
        gpu.launch("nptf", "nptf_sum", blocks, gpu.THREADS, batch, size, slots, partial, d_x)
