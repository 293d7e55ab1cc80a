"""The normal prior, and its half above a limit."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
from jax.scipy.special import ndtri
from pydantic import Field
from scipy import special

from gammasky.engine.model.priors.base import PRIORS, Floats, ScalarPrior
from gammasky.engine.normal import normal_cdf

REACH = 3.0  # standard deviations of a prior without an end that an axis shows


@PRIORS.add
class Normal(ScalarPrior):
    """Normal(mean, sd).

    Args:
        mean: mean of the distribution.
        sd: standard deviation of the distribution.
    """

    kind: ClassVar[str] = "normal"

    prior: Literal["normal"]
    mean: float
    sd: Annotated[float, Field(gt=0)]

    def numbers(self) -> tuple[float, float]:
        return self.mean, self.sd

    @staticmethod
    def quantile(z: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
        return mean + sd * z

    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def to_box(self, value: Floats) -> Floats:
        return np.atleast_1d((np.asarray(value, dtype=np.float64) - self.mean) / self.sd)

    def mass(self, x: Floats) -> Floats:
        return np.asarray(special.ndtr((x - self.mean) / self.sd))

    def shown(self, element: int = 0, n_elements: int = 1) -> tuple[float, float]:
        del element, n_elements
        return self.mean - REACH * self.sd, self.mean + REACH * self.sd


@PRIORS.add
class HalfNormal(ScalarPrior):
    """Half-normal: low + |Normal(0, sd)|.

    Args:
        sd: standard deviation of the normal distribution whose upper half it is.
        low: the limit where it begins.
    """

    kind: ClassVar[str] = "halfnormal"

    prior: Literal["halfnormal"]
    sd: Annotated[float, Field(gt=0)]
    low: float = 0.0

    def numbers(self) -> tuple[float, float]:
        return self.low, self.sd

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, sd: jax.Array) -> jax.Array:
        # (1 + Phi(z)) / 2 = 1 - Phi(-z) / 2: the small side keeps its digits
        return low - sd * ndtri(0.5 * normal_cdf(-z))

    def support(self) -> tuple[float, float]:
        return self.low, math.inf

    def box(self, n_elements: int) -> tuple[float, float]:
        del n_elements
        return 0.0, math.inf

    @classmethod
    def from_box(cls, x: jax.Array, low: jax.Array, sd: jax.Array) -> jax.Array:
        return low + sd * x

    def to_box(self, value: Floats) -> Floats:
        return np.atleast_1d((np.asarray(value, dtype=np.float64) - self.low) / self.sd)

    def mass(self, x: Floats) -> Floats:
        return np.asarray(special.erf(np.maximum(x - self.low, 0.0) / (self.sd * math.sqrt(2))))

    def shown(self, element: int = 0, n_elements: int = 1) -> tuple[float, float]:
        del element, n_elements
        return self.low, self.low + REACH * self.sd
