"""Priors, each by its quantile function on the scale of a standard normal: theta = F^-1(Phi(z)), z ~ N(0, 1).

On this scale a direction that the data do not inform is exactly standard normal, whatever its prior.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, model_validator

from gammasky.engine.errors import unknown_name
from gammasky.engine.sky.schema import Schema

#: How far fractions that come from a text file may be from adding up to 1.
SUM_TOLERANCE = 1e-6


class _Prior(Schema):
    """Options of every prior."""

    model_config = ConfigDict(allow_inf_nan=False)

    unit: str = ""
    label: str = ""


class Uniform(_Prior):
    """Uniform(low, high)."""

    prior: Literal["uniform"]
    low: float
    high: float

    @model_validator(mode="after")
    def _order(self) -> Uniform:
        return _ordered(self)

    def numbers(self) -> tuple[float, float]:
        return self.low, self.high

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return low + (high - low) * ndtr(z)

    def support(self) -> tuple[float, float]:
        return self.low, self.high


class LogUniform(_Prior):
    """Log-uniform: uniform in log theta between low > 0 and high."""

    prior: Literal["loguniform"]
    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _order(self) -> LogUniform:
        return _ordered(self)

    def numbers(self) -> tuple[float, float]:
        return math.log(self.low), math.log(self.high)

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.exp(low + (high - low) * ndtr(z))

    def support(self) -> tuple[float, float]:
        return self.low, self.high


class Normal(_Prior):
    """Normal(mean, sd)."""

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


class HalfNormal(_Prior):
    """Half-normal: low + |Normal(0, sd)|."""

    prior: Literal["halfnormal"]
    sd: Annotated[float, Field(gt=0)]
    low: float = 0.0

    def numbers(self) -> tuple[float, float]:
        return self.low, self.sd

    @staticmethod
    def quantile(z: jax.Array, low: jax.Array, sd: jax.Array) -> jax.Array:
        # (1 + Phi(z)) / 2 = 1 - Phi(-z) / 2: the small side keeps its digits
        return low - sd * ndtri(0.5 * ndtr(-z))

    def support(self) -> tuple[float, float]:
        return self.low, math.inf


class Dirichlet(_Prior):
    """Dirichlet over the members of a mixture; `concentration` for each of them, 1/n where it is not given."""

    prior: Literal["dirichlet"]
    concentration: float | list[float] | None = None

    @model_validator(mode="after")
    def _positive(self) -> Dirichlet:
        if self.concentration is not None and not np.all(np.asarray(self.concentration) > 0):
            raise ValueError(f"concentration must be positive, got {self.concentration}")
        return self

    def alphas(self, n: int) -> np.ndarray:
        """Concentrations (n,) for a mixture of n members."""
        if self.concentration is None:
            return np.full(n, 1.0 / n)
        return np.broadcast_to(np.asarray(self.concentration, dtype=np.float64), (n,))

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0


class Smooth(_Prior):
    """Nodes of a smooth curve: a Gaussian level, slope and second differences, the latter small where it is smooth.

        y_j = mean + level_sd z_0 + slope_sd (j - c) z_1 + curvature_sd sum_k h_k(j) z_k

    for nodes j = 0 .. n - 1 with the middle c, where h_k has a second difference of 1 at node k - 1 alone and grows
    away from the middle: level and slope are those of the middle (an integrated random walk, whose mean given data is
    a cubic spline: Wahba 1978, J. R. Stat. Soc. B 40, 364).
    """

    prior: Literal["smooth"]
    mean: float
    level_sd: Annotated[float, Field(gt=0)]
    slope_sd: Annotated[float, Field(gt=0)]
    curvature_sd: Annotated[float, Field(gt=0)]

    def matrix(self, n: int) -> np.ndarray:
        """Of the nodes: y = mean + matrix (n, n) @ z."""
        from_middle = np.arange(n) - 0.5 * (n - 1)
        columns = [np.full(n, self.level_sd), self.slope_sd * from_middle]
        for node in from_middle[1:-1]:
            bent = from_middle - node if node >= 0 else node - from_middle
            columns.append(self.curvature_sd * np.maximum(bent, 0.0))
        return np.stack(columns[:n], axis=1)

    def marginal(self, element: int, n: int) -> Normal:
        """The prior of one node of n."""
        sd = float(np.linalg.norm(self.matrix(n)[element]))
        return Normal(prior="normal", mean=self.mean, sd=sd)

    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf


def _ordered(prior: Any) -> Any:
    if not prior.low < prior.high:
        raise ValueError(f"low must be below high, got low={prior.low:g}, high={prior.high:g}; exchange them")
    return prior


_KINDS: dict[str, type[_Prior]] = {
    "uniform": Uniform, "loguniform": LogUniform, "normal": Normal, "halfnormal": HalfNormal, "dirichlet": Dirichlet,
    "smooth": Smooth,
}  # fmt: skip


def _known(value: Any) -> Any:
    """Refuse a prior whose name is not known, with the nearest one that is."""
    if isinstance(value, dict) and value.get("prior") not in _KINDS:
        if "prior" not in value:
            raise ValueError(f"key 'prior' is missing; give one of {', '.join(sorted(_KINDS))}")
        raise ValueError(str(unknown_name("prior", str(value["prior"]), _KINDS)))
    return value


Scalar = Uniform | LogUniform | Normal | HalfNormal
Prior = Annotated[
    Annotated[Uniform | LogUniform | Normal | HalfNormal | Dirichlet | Smooth, Discriminator("prior")],
    BeforeValidator(_known),
]
SCALAR_KINDS: tuple[type[Scalar], ...] = (Uniform, LogUniform, Normal, HalfNormal)
