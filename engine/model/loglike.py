"""The log-likelihood of a dataset at one parameter point, by names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gammasky.engine.model.sky_model import SkyModel
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a parameter point gives.

    Attributes:
        log_likelihood: sum over the fitted pixels.
        gradient: its derivative by each parameter, in the parameter's own units; None if not asked for.
        per_pixel (P,): log-likelihood of each fitted pixel, in the order of `SkyModel.pixels`.
    """

    log_likelihood: float
    gradient: dict[str, float | np.ndarray] | None
    per_pixel: np.ndarray


def evaluate(model: str, data: str, data_dir: Path | None, params: Mapping[str, Any], *, gradient: bool) -> Evaluation:
    """Log-likelihood of `data` under `model` at `params`.

    The elements of a Dirichlet parameter are differentiated as if they were free of each other.

    Args:
        model: a preset's name or a TOML file.
        data: a dataset's name, folder or manifest.
        data_dir: where the files of a named dataset lie; None: the usual places.
        params: every parameter of the model, name -> number or list of numbers.
        gradient: whether to differentiate.

    Raises:
        InputError: a model, dataset or parameter that cannot be used.
        NonFiniteLikelihoodError: the log-likelihood or its gradient is not finite; names the pixel and the parameters.
    """
    sky = SkyModel(model, Dataset.open(data, data_dir))
    theta = sky.point(params)
    per_pixel, slopes = _at_point(sky, theta) if gradient else (_value(sky, theta), None)
    parts = [per_pixel, *(slopes or {}).values()]
    if not all(np.isfinite(part).all() for part in parts):
        raise sky.explain(theta)
    return Evaluation(float(per_pixel.sum()), slopes, per_pixel)


def _value(sky: SkyModel, theta: Parameters) -> np.ndarray:
    return np.asarray(jax.jit(sky.pixel_log_likelihood)(theta, sky.arrays))


def _at_point(sky: SkyModel, theta: Parameters) -> tuple[np.ndarray, dict[str, float | np.ndarray]]:
    """Log-likelihood of each pixel, and the gradient of their sum."""

    def total(theta: Parameters, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
        per_pixel = sky.pixel_log_likelihood(theta, arrays)
        return per_pixel.sum(), per_pixel

    slopes, per_pixel = jax.jit(jax.grad(total, has_aux=True))(theta, sky.arrays)
    slopes = {name: np.asarray(slopes[name]) for name in theta}  # JAX has sorted them
    return np.asarray(per_pixel), {name: slope if slope.ndim else float(slope) for name, slope in slopes.items()}
