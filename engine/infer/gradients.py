"""Compares gradients of a density with differences of its values: a wrong derivative spoils every method, silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.optimise import Laplace, evaluate

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
_POINTS = 3  # a kink of the density may lie at one of them, but hardly at two
_STEP = 1e-4  # of differences, in standard deviations of the parameter
_LARGEST = 0.005  # difference, as a share of the slope, or of one nat per standard deviation where the slope is less
_REMEDY = "mend the derivative of the template, source-count function, term or prior that this parameter belongs to"


def check_gradients(model: Density, start: Laplace, seed: int) -> int:
    """Check the gradient in every coordinate at draws of the Laplace approximation.

    Args:
        model: the density. start: its best point and curvature.
        seed: of the draws.

    Returns:
        the number of gradients that it took.

    Raises:
        InputError: the gradient along a coordinate is wrong at most of the draws (names the worst), or is not finite
            at one of them although the density is finite there and on both sides.
    """
    size = model.n_latent
    u = np.random.default_rng((seed, size)).standard_normal((_POINTS, size))
    z = start.mode + u @ start.scale_tril.T
    steps = _STEP * np.sqrt(np.diag(start.scale_tril @ start.scale_tril.T))
    moves = np.concatenate([np.zeros((1, size)), np.diag(steps), -np.diag(steps)])
    points = z[:, None] + moves
    values, gradients = evaluate(model, points.reshape(-1, size))
    values = values.reshape(_POINTS, -1)
    slopes = gradients.reshape(*points.shape)[:, 0] * steps / _STEP
    differences = (values[:, 1 : 1 + size] - values[:, 1 + size :]) / (2 * _STEP)
    # methods leave out points without a gradient: a region where only the gradient is missing would be cut off unseen
    missing = np.isfinite(values[:, :1]) & np.isfinite(differences) & ~np.isfinite(slopes)
    if missing.any():
        at, worst = (int(place) for place in np.argwhere(missing)[0])
        raise InputError(
            f"gradient of the density along {_name(model, worst)} is {slopes[at, worst]}, although the density is "
            f"finite there: its values differ by {differences[at, worst]:.6g} per standard deviation; {_REMEDY}"
        )
    wrong = np.abs(slopes - differences) / np.maximum(np.abs(differences), 1.0)
    wrong = np.median(np.where(np.isfinite(wrong), wrong, 0.0), axis=0)  # where it does not exist nothing can be said
    worst = int(np.argmax(wrong))
    if wrong[worst] > _LARGEST:
        at = int(np.argmax(np.abs(slopes - differences)[:, worst]))
        raise InputError(
            f"gradient of the density along {_name(model, worst)}: {slopes[at, worst]:.6g} per standard deviation, but "
            f"its values differ by {differences[at, worst]:.6g}; {_REMEDY}"
        )
    return len(points) * points.shape[1]


def _name(model: Density, axis: int) -> str:
    """The parameter, or element of one, that a latent axis belongs to."""
    slot = next(slot for slot in model.latent.slots.values() if slot.start <= axis < slot.start + slot.n_latent)
    return slot.name if slot.n_latent == 1 else f"{slot.name}[{axis - slot.start}]"
