"""What the NPTF operation runs: leading axes joined into one, then the kernels of the host or the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gammasky.engine.kernels.nptf import cpu, cuda
from gammasky.engine.kernels.nptf.plan import PixelPlan

_AXES = 1, 2, 3, 1  # of mean (P,), templates (I, P), x (I, R, M + 1) and cotangent (P,)


def flat(array: Any, axes: int) -> Any:
    """`array` with all but its last `axes` axes joined into one (-1 would not do: an axis may be empty)."""
    lead = array.ndim - axes
    return array.reshape(math.prod(array.shape[:lead]), *array.shape[lead:])


def _flat_point(arrays: Sequence[Any]) -> list[Any]:
    """Mean, templates, x and, where it is given, the cotangent with one leading axis."""
    return [flat(array, axes) for array, axes in zip(arrays, _AXES, strict=False)]


def value(outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    """Fill log p; the inputs are a plan's arrays, mean, templates and x."""
    cpu.evaluate(PixelPlan(*inputs[:-3]), flat(outputs[0], 1), *_flat_point(inputs[-3:]))


def gradient(outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    """Fill log p and the gradient; the inputs are those of `value` and a cotangent of log p."""
    log_p, plan = flat(outputs[0], 1), PixelPlan(*inputs[:-4])
    mean, templates, x, cotangent = _flat_point(inputs[-4:])
    d_mean, d_templates, d_x = _flat_point(outputs[1:])
    cpu.evaluate(plan, log_p, mean, templates, x, cotangent, (d_mean, d_templates, d_x))


def device_value(outputs: Sequence[Any], scratch: Sequence[Any], *inputs: Any) -> None:
    """`value` on a device, from the arrays of a `cuda.Layout` in place of a whole plan."""
    rows, left = scratch
    room = cuda.Scratch(rows, left, partial=None)
    cuda.evaluate(cuda.Layout(*inputs[:-3]), flat(outputs[0], 1), room, *_flat_point(inputs[-3:]))


def device_gradient(outputs: Sequence[Any], scratch: Sequence[Any], *inputs: Any) -> None:
    """`gradient` on a device, from the arrays of a `cuda.Layout` in place of a whole plan."""
    log_p, layout = flat(outputs[0], 1), cuda.Layout(*inputs[:-4])
    mean, templates, x, cotangent = _flat_point(inputs[-4:])
    d_mean, d_templates, d_x = _flat_point(outputs[1:])
    room = cuda.Scratch(*scratch)
    cuda.evaluate(layout, log_p, room, mean, templates, x, cotangent, (d_mean, d_templates, d_x))
