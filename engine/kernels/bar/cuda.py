"""Launcher of the bar on a GPU, along each line of sight: there is no need of a grid there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.bar.falloff import FAR_SERIES
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.quadrature import LANES

#: Blocks on a multiprocessor, as in the source, and threads that share a line of sight.
PER_PROCESSOR, TEAM = 16, gpu.WARP


def prepare(sky: BarSky) -> None:
    """Compile and load the kernel, and copy the geometry, on the current device."""
    gpu.prepare("bar", "bar_pixels")
    _arrays(sky)


def _arrays(sky: BarSky) -> tuple[Any, ...]:
    """The arrays of a sky on the current device, in the order of the kernel."""
    own = sky.directions, sky.step, sky.frame, FAR_SERIES, sky.groups.order, sky.groups.starts
    return gpu.kept_on_device(sky, own)


def triaxial_bar(sky: BarSky, outputs: Sequence[Any], _scratch: Sequence[Any], point: Any) -> None:
    """Fill the template (..., N) and its derivatives (..., 8, N) for points (..., 8), on the current stream."""
    batch, lines = point.size // point.shape[-1], sky.groups.starts.size - 1
    gpu.launch(
        "bar", "bar_pixels", gpu.blocks_for(batch * lines, 1, PER_PROCESSOR), TEAM,
        batch, LANES, lines, sky.n_pixels, sky.step.shape[1], sky.falloff, FAR_SERIES.shape[1] - 1,
        *_arrays(sky), point, *outputs,
    )  # fmt: skip
