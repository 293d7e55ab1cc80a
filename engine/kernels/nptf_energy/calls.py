"""What the joint operation runs: leading axes joined into one, then the kernels of the host or the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gammasky.engine.kernels.nptf.calls import flat
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.nptf_energy import cpu, cuda
from gammasky.engine.kernels.nptf_energy.plan import JointPlan

_AXES = 2, 2, 3, 2, 1  # of mean (E, P), templates (I, P), x (I, R, M + 1), spectrum (R, E) and cotangent (P,)


def flat_plan(plan: JointPlan) -> tuple[Any, ...]:
    """The arrays of a plan, one after the other."""
    return *plan[:-1], *plan.totals


def _plan(arrays: Sequence[np.ndarray]) -> JointPlan:
    bins, log_factorial, lane_bins, lane_counts, strip_counts, *totals = arrays
    return JointPlan(bins, log_factorial, lane_bins, lane_counts, strip_counts, PixelPlan(*totals))


def _flat_point(arrays: Sequence[Any]) -> list[Any]:
    """Mean, templates, x, spectrum and, where it is given, the cotangent with one leading axis."""
    return [flat(array, axes) for array, axes in zip(arrays, _AXES, strict=False)]


def value(outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    """Fill log p; the inputs are a plan's arrays, mean, templates, x and spectrum."""
    cpu.evaluate(_plan(inputs[:-4]), flat(outputs[0], 1), *_flat_point(inputs[-4:]))


def gradient(outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    """Fill log p and the gradient; the inputs are those of `value` and a cotangent of log p."""
    mean, templates, x, spectrum, cotangent = _flat_point(inputs[-5:])
    d_mean, d_templates, d_x, d_spectrum = _flat_point(outputs[1:])
    cpu.evaluate(
        _plan(inputs[:-5]), flat(outputs[0], 1), mean, templates, x, spectrum, cotangent,
        (d_mean, d_templates, d_x, d_spectrum),
    )  # fmt: skip


def device_value(outputs: Sequence[Any], scratch: Sequence[Any], *inputs: Any) -> None:
    """`value` on a device, from the arrays of a `cuda.Layout` in place of a whole plan."""
    rows, by_share = scratch
    cuda.evaluate(cuda.Layout(*inputs[:-4]), flat(outputs[0], 1), rows, by_share, *_flat_point(inputs[-4:]))


def device_gradient(outputs: Sequence[Any], scratch: Sequence[Any], *inputs: Any) -> None:
    """`gradient` on a device, from the arrays of a `cuda.Layout` in place of a whole plan."""
    mean, templates, x, spectrum, cotangent = _flat_point(inputs[-5:])
    d_mean, d_templates, d_x, d_spectrum = _flat_point(outputs[1:])
    rows, by_share, partial, partial_spectrum = scratch
    cuda.evaluate(
        cuda.Layout(*inputs[:-5]), flat(outputs[0], 1), rows, by_share, mean, templates, x, spectrum, cotangent,
        (d_mean, d_templates, d_x, d_spectrum), partial, partial_spectrum,
    )  # fmt: skip
