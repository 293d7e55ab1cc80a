"""Parameter points given as plain numbers, and the error for a point whose likelihood is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError, unknown_name
from gammasky.engine.model.latent import Parameters, Slot
from gammasky.engine.model.priors import SUM_TOLERANCE, Dirichlet
from gammasky.engine.model.source_counts import absolute_breaks
from gammasky.engine.model.spec import ModelSpec, SourceCounts
from gammasky.engine.model.templates import value_of
from gammasky.engine.sky.flat_pixels import FlatPixels

ROUNDING = 1e-12  # a draw of a log-uniform prior may be beyond its limit by the last digit


def point_from_numbers(spec: ModelSpec, slots: Mapping[str, Slot], values: Mapping[str, Any]) -> Parameters:
    """Parameters from plain numbers; see `SkyModel.point`."""
    for name in values:
        if name not in slots:
            raise unknown_name("parameter", name, slots)
    for name in slots:
        if name not in values:
            raise InputError(f"parameter '{name}' is missing; give all of {', '.join(slots)}")
    theta = {name: _numbers(name, values[name], slot.shape) for name, slot in slots.items()}
    for name, slot in slots.items():
        if isinstance(slot.prior, Dirichlet):
            _check_fractions(name, theta[name])
    point = {name: jnp.asarray(value) for name, value in theta.items()}
    _check_breaks(spec, point)
    return point


def require_inside_priors(spec: ModelSpec, theta: Mapping[str, Any]) -> None:
    """Refuse parameters that their priors exclude.

    Raises:
        InputError: names the parameter, the limits of its prior and the value.
    """
    for name, prior in spec.parameters.items():
        if isinstance(prior, Dirichlet):
            continue  # fractions are checked as such
        low, high = prior.support()
        values = np.atleast_1d(np.asarray(theta[name], dtype=np.float64))
        outside = values[~((values >= low - ROUNDING * abs(low)) & (values <= high + ROUNDING * abs(high)))]
        if outside.size:
            raise InputError(
                f"parameter '{name}': expected a value inside its prior, {low:g} to {high:g}, got {outside[0]:g}; "
                "change it, or the prior in the model file"
            )


def non_finite(theta: Parameters, log_p: np.ndarray, mean: np.ndarray, pixels: FlatPixels) -> NonFiniteLikelihoodError:
    """The error for `theta`: names the first pixel whose log p (P,) is not finite, or blames the gradient.

    Args:
        theta: the parameters.
        log_p (P,): log-likelihood of each fitted pixel.
        mean (P,) [counts]: smooth mean there.
        pixels: where they are.
    """
    at = ", ".join(f"{name}={_text(value)}" for name, value in theta.items())
    if np.isfinite(log_p).all():
        return NonFiniteLikelihoodError(
            f"the gradient of the log-likelihood is not finite at {at}; lower --lr or narrow the priors"
        )
    pixel = int(np.argmin(np.isfinite(log_p)))
    healpix = int(pixels.index[pixel] % (12 * pixels.nside**2))
    return NonFiniteLikelihoodError(
        f"log-likelihood is {log_p[pixel]} in pixel {healpix} (nside {pixels.nside}, l={pixels.lon_deg[pixel]:.2f}, "
        f"b={pixels.lat_deg[pixel]:.2f}, count {pixels.counts[pixel]}, smooth mean {mean[pixel]:.6g}) at {at}; "
        "correct the values, or narrow the priors"
    )


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=8, max_line_width=10_000)


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"parameter '{name}': expected numbers, got {value!r:.60}") from None
    if numbers.shape != shape:
        expected = f"a list of {shape[0]} numbers" if shape else "one number"
        raise InputError(f"parameter '{name}': expected {expected}, got {value!r:.60}")
    if not np.isfinite(numbers).all():
        raise InputError(f"parameter '{name}': expected finite numbers, got {value!r:.60}")
    return numbers


def _check_fractions(name: str, fractions: np.ndarray) -> None:
    if (fractions < 0).any() or abs(fractions.sum() - 1.0) > SUM_TOLERANCE:
        raise InputError(
            f"parameter '{name}': expected fractions of at least 0 that add up to 1, got {fractions.tolist()} "
            f"(sum {fractions.sum():.9g})"
        )


def _check_breaks(spec: ModelSpec, theta: Parameters) -> None:
    """Breaks of every population positive and falling, at this point."""
    for component in spec.components:
        if not isinstance(component.source_counts, SourceCounts):
            continue
        given = [value_of(value, theta) for value in component.source_counts.breaks]
        breaks = [float(value) for value in absolute_breaks(given, component.source_counts.relative)]
        if breaks[-1] <= 0 or any(lower > upper for upper, lower in pairwise(breaks)):
            raise InputError(
                f"component '{component.name}': breaks out of order: expected positive counts from the highest to the "
                f"lowest, got {', '.join(f'{value:g}' for value in breaks)} from "
                f"{', '.join(str(value) for value in component.source_counts.breaks)}"
            )
