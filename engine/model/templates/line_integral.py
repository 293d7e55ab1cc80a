"""Profiles whose kernel integrates along lines of sight, and divides by the mean there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import jax
import numpy as np

from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky, Normalisation
from gammasky.engine.model.templates.base import Profile
from gammasky.engine.model.templates.function import Evaluate
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use

#: A function of the parameters, of what its values are divided by, and of what they are multiplied by.
Integral = Callable[[Parameters, Normalisation | None, jax.Array | float], jax.Array]


class LineIntegral(Profile):
    """Base of profiles that are an operation of `kernels.profiles`."""

    @abstractmethod
    def integral(self, setting: Setting) -> tuple[NFWSky | DiskSky, Integral]:
        """The lines of sight, and the operation."""

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        _, integral = self.integral(setting)
        return lambda theta: integral(theta, None, 1.0)

    def require_positive(self, setting: Setting, exposure: str | None, uses: list[Use]) -> None:
        """Pass: these kernels integrate densities that are above zero everywhere."""
        del setting, exposure, uses

    def normalised(self, setting: Setting, exposure: str | None) -> Evaluate:
        pixels, (sky, integral) = setting.pixels, self.integral(setting)
        weight = np.where(np.arange(pixels.n_pixels) < pixels.n_region, 1.0 / pixels.n_region, 0.0)
        weight = weight if exposure is None else weight * setting.arrays[exposure]
        over = {size: Normalisation.of(sky, size, weight) for size in (pixels.n_fit, pixels.n_pixels)}

        def normalised(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
            values = integral(theta, over[size], times)
            return values if exposure is None else values * arrays[exposure][:size]

        return normalised
