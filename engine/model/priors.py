"""Priors, each by its quantile function on the scale of a standard normal: theta = F^-1(Phi(z)), z ~ N(0, 1).

On this scale a direction that the data do not inform is exactly standard normal, whatever its prior.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from pydantic import Discriminator, Field, Tag, model_validator

from gammasky.engine.sky.settings import Settings


class _Prior(Settings):
    """Options of every prior."""

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
    concentration: Annotated[float, Field(gt=0)] | list[Annotated[float, Field(gt=0)]] | None = None

    def alphas(self, n: int) -> np.ndarray:
        """Concentrations (n,) for a mixture of n members."""
        if self.concentration is None:
            return np.full(n, 1.0 / n)
        return np.broadcast_to(np.asarray(self.concentration, dtype=np.float64), (n,))

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0


def _ordered(prior: Any) -> Any:
    if not prior.low < prior.high:
        raise ValueError(f"low must be below high, got low={prior.low:g}, high={prior.high:g}; exchange them")
    return prior


_KINDS: dict[str, type[_Prior]] = {
    "uniform": Uniform, "loguniform": LogUniform, "normal": Normal, "halfnormal": HalfNormal, "dirichlet": Dirichlet,
}  # fmt: skip


class _Unknown(Settings):
    """Stands for a prior whose name is not known, so that the error can offer the nearest one."""

    model_config: ClassVar[Any] = {"extra": "allow"}

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, value: Any) -> Any:
        from gammasky.engine.errors import unknown_name

        name = value.get("prior", "") if isinstance(value, dict) else value
        raise ValueError(str(unknown_name("prior", str(name), _KINDS)))


def _kind(value: Any) -> str:
    name = value.get("prior") if isinstance(value, dict) else getattr(value, "prior", None)
    return name if name in _KINDS else "unknown"


Scalar = Uniform | LogUniform | Normal | HalfNormal
Prior = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[HalfNormal, Tag("halfnormal")]
    | Annotated[Dirichlet, Tag("dirichlet")]
    | Annotated[_Unknown, Tag("unknown")],
    Discriminator(_kind),
]
SCALAR_KINDS: tuple[type[Scalar], ...] = (Uniform, LogUniform, Normal, HalfNormal)
