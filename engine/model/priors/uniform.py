"""The uniform prior, in a parameter or in its logarithm."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from gammasky.engine.model.priors.base import PRIORS, Floats, ScalarPrior
from gammasky.engine.normal import normal_cdf

NOTHING = 1e-300  # what stands for zero on a logarithmic scale


class Between(ScalarPrior):
    """Base of priors of a number between two limits.

    Args:
        low, high: the limits.
    """

    low: float
    high: float

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low:g}, high={self.high:g}; exchange them")
        return self

    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def box(self, n_elements: int) -> tuple[float, float]:
        del n_elements
        return 0.0, 1.0


@PRIORS.add
class Uniform(Between):
    """Uniform(low, high)."""

    kind: ClassVar[str] = "uniform"

    prior: Literal["uniform"]

    def numbers(self) -> tuple[float, float]:
        return self.low, self.high

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return low + (high - low) * normal_cdf(z)

    @classmethod
    def from_box(cls, x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return low + (high - low) * x

    def to_box(self, value: Floats) -> Floats:
        return np.atleast_1d((np.asarray(value, dtype=np.float64) - self.low) / (self.high - self.low))

    def mass(self, x: Floats) -> Floats:
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)


@PRIORS.add
class LogUniform(Between):
    """Log-uniform: uniform in log theta between low > 0 and high."""

    kind: ClassVar[str] = "loguniform"

    prior: Literal["loguniform"]
    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    def numbers(self) -> tuple[float, float]:
        return math.log(self.low), math.log(self.high)

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.exp(low + (high - low) * normal_cdf(z))

    @classmethod
    def from_box(cls, x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.exp(low + (high - low) * x)

    def to_box(self, value: Floats) -> Floats:
        logs = np.log(np.maximum(np.asarray(value, dtype=np.float64), NOTHING))
        return np.atleast_1d((logs - math.log(self.low)) / (math.log(self.high) - math.log(self.low)))

    def mass(self, x: Floats) -> Floats:
        return np.clip(np.log(x / self.low) / np.log(self.high / self.low), 0.0, 1.0)
