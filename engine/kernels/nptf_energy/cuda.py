"""Launcher of the joint kernel on a GPU: value and gradient of B parameter points at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.nptf.cuda import PER_PROCESSOR, blocks_of
from gammasky.engine.kernels.nptf.plan import LANES
from gammasky.engine.kernels.nptf_energy.plan import JointPlan

#: Partial sums of d/dX for each point, and blocks that share its groups: with a few points they fill a GPU, and with
#: many of them the scratch stays small.
SLOTS = 64
Shape = tuple[int, ...]


class Layout(NamedTuple):
    """The arrays of a `JointPlan` that the device kernel takes; see there and `PixelPlan`."""

    lanes: Any
    group_region: Any
    group_counts: Any
    bins: Any

    @classmethod
    def of(cls, plan: JointPlan) -> Layout:
        return cls(plan.totals.lanes, plan.totals.group_region, plan.totals.group_counts, plan.bins)


def prepare() -> None:
    """Compile and load the kernels on the current device."""
    gpu.prepare("nptf_energy", "joint_pixels", "joint_sum")


def scratch_shapes(
    points: int, groups: int, x_shape: Shape, spectrum_shape: Shape
) -> tuple[Shape, Shape, Shape, Shape]:
    """Shapes of `scratch`, `by_share`, `partial` and `partial_spectrum` for B points with G groups, x of shape
    (I, R, M + 1) and a spectrum (R, E)."""
    rows, slots = (6, x_shape[-1], LANES), min(groups, SLOTS)
    blocks = blocks_of(points * slots, math.prod(rows))
    of_points = (points, slots, *x_shape), (points, slots, *spectrum_shape)
    return (blocks, *rows), (blocks, spectrum_shape[-1], LANES), *of_points


def evaluate(
    layout: Layout, log_p: Any, scratch: Any, by_share: Any, mean: Any, templates: Any, x: Any, spectrum: Any,
    cotangent: Any = None, gradient: tuple[Any, Any, Any, Any] | None = None, partial: Any = None,
    partial_spectrum: Any = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient` on the current stream; see `cpu.evaluate`.

    Counts that x does not reach give NaN for their pixel: they are on the device, where nothing can be refused.

    Args:
        layout: arrays of the plan, each with one more leading axis, of length 1 or a number that divides B.
        log_p (B, P), mean (B, E, P), templates (B, I, P), x (B, I, R, M + 1), spectrum (B, R, E), cotangent (B, P),
            gradient: as there; of inputs that are the same at all points the leading axis may be 1.
        scratch (blocks, 6, M + 1, LANES), by_share (blocks, E, LANES), partial (B, slots, I, R, M + 1),
            partial_spectrum (B, slots, R, E): room to work in, of `scratch_shapes`.
    """
    (batch, pixels), bins = log_p.shape, mean.shape[1]
    populations, regions, terms = x.shape[1:]
    groups = layout.group_region.shape[1]
    slots, cotangent = min(groups, SLOTS), mean if cotangent is None else cotangent
    d_mean, d_templates, d_x, d_spectrum = gradient or (log_p, log_p, log_p, log_p)  # not touched without a gradient
    gpu.launch(
        "nptf_energy", "joint_pixels", min(gpu.blocks_for(batch * slots, 1, PER_PROCESSOR), scratch.shape[0]), LANES,
        batch, *(len(array) for array in (layout.bins, mean, templates, x, spectrum, cotangent)),
        pixels, bins, populations, regions, terms, groups, slots, int(gradient is not None),
        *layout, mean, templates, x, spectrum, cotangent,
        log_p, d_mean, d_templates, scratch if partial is None else partial,
        scratch if partial_spectrum is None else partial_spectrum, scratch, by_share,
    )  # fmt: skip
    if gradient is None:
        return
    for sums, result, size in (
        (partial, d_x, populations * regions * terms),
        (partial_spectrum, d_spectrum, regions * bins),
    ):
        blocks = gpu.blocks_for(batch * size, gpu.THREADS, PER_PROCESSOR)
        gpu.launch("nptf_energy", "joint_sum", blocks, gpu.THREADS, batch, size, slots, sums, result)
