"""Launcher of the bar on a GPU, along each line of sight: there is no need of a grid there."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.bar.falloff import FAR_SERIES
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.quadrature import LANES

PER_PROCESSOR = 16

_ON_DEVICE: WeakKeyDictionary[BarSky, dict[int, tuple[Any, ...]]] = WeakKeyDictionary()


def prepare(sky: BarSky) -> None:
    """Compile and load the kernel, and copy the geometry, on the current device."""
    gpu.prepare("bar", "bar_pixels")
    _arrays(sky)


def _arrays(sky: BarSky) -> tuple[Any, ...]:
    """The arrays of a sky on the current device, in the order of the kernel; they live as long as the sky."""
    cupy = importlib.import_module("cupy")
    by_device, device = _ON_DEVICE.setdefault(sky, {}), cupy.cuda.Device().id
    if device not in by_device:
        own = sky.directions, sky.step, sky.frame, FAR_SERIES, sky.groups.order, sky.groups.starts
        by_device[device] = tuple(cupy.asarray(array) for array in own)
    return by_device[device]


def triaxial_bar(sky: BarSky, outputs: Sequence[Any], _scratch: Sequence[Any], point: Any) -> None:
    """Fill the template (..., N) and its derivatives (..., 8, N) for points (..., 8), on the current stream."""
    batch, lines = point.size // point.shape[-1], sky.groups.starts.size - 1
    gpu.launch(
        "bar", "bar_pixels", gpu.blocks_for(batch * lines, gpu.WARP, PER_PROCESSOR), gpu.WARP,
        batch, LANES, lines, sky.n_pixels, sky.step.shape[1], sky.falloff, FAR_SERIES.shape[1] - 1,
        *_arrays(sky), point, *outputs,
    )  # fmt: skip
