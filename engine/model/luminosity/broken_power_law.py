"""The broken power law between a lowest and a highest luminosity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.model.luminosity.base import LEAST, LUMINOSITIES, Luminosity
from gammasky.engine.model.priors import PriorKind
from gammasky.engine.model.source_counts.broken_power_law import log_broken_power_law
from gammasky.engine.model.spectra.integrals import log_sinhc
from gammasky.engine.model.values import Parameters, Use, Value, limits_of, uses_of, value_of


@LUMINOSITIES.add
class BrokenLuminosity(Luminosity):
    """Broken power law dN/dL with any number of breaks, between two luminosities.

    Args:
        slopes: powers of 1/L, from above the highest break to below the lowest; one more than there are breaks.
        breaks [s^-1]: the highest first.
        min, max [s^-1]: no source is fainter or brighter.
    """

    kind: ClassVar[str] = "broken power law"

    slopes: list[Value]
    breaks: Annotated[list[Value], Field(min_length=1)]
    min: Annotated[float, Field(ge=LEAST)]
    max: Annotated[float, Field(ge=LEAST)]

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.slopes) != len(self.breaks) + 1:
            raise ValueError(f"{len(self.breaks)} breaks need {len(self.breaks) + 1} slopes, got {len(self.slopes)}")
        if self.min >= self.max:
            raise ValueError(f"min must be below max, got min={self.min:g}, max={self.max:g}")
        return self

    def uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, luminosity slopes", *self.slopes)
        what = "a break of the luminosity function [s^-1]"
        yield from uses_of(f"{where}, luminosity breaks", *self.breaks, least=self.min, most=self.max, what=what)

    def require_priors(self, where: str, priors: Mapping[str, PriorKind]) -> None:
        """Breaks stay in order for all values that their priors allow."""
        of_priors = {name: prior.support() for name, prior in priors.items()}
        supports = [limits_of(f"{where}, luminosity breaks", value, of_priors) for value in self.breaks]
        for (upper, above), (lower, below) in pairwise(zip(self.breaks, supports, strict=True)):
            if below[1] > above[0]:
                raise InputError(
                    f"{where}: breaks of the luminosity out of order: '{lower}' reaches {below[1]:g}, above the lowest "
                    f"'{upper}' = {above[0]:g}; separate the priors, or write one as a part of the other"
                )

    def require_point(self, where: str, theta: Parameters) -> None:
        """Breaks fall at this point, and lie between the limits."""
        breaks = [float(value_of(value, theta)) for value in self.breaks]
        if any(lower > upper for upper, lower in pairwise([self.max, *breaks, self.min])):
            raise InputError(
                f"{where}: breaks of the luminosity out of order: expected falling ones between max={self.max:g} and "
                f"min={self.min:g}, got {', '.join(f'{value:g}' for value in breaks)}"
            )

    def log_density(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        """A step of log L that `min` or `max` cuts counts by its part inside."""
        log_l = jnp.log(luminosity)
        step = log_l[..., 1:2] - log_l[..., :1]
        inside = [jnp.clip(beyond / step + 0.5, 0.0, 1.0) for beyond in (
            log_l - jnp.log(self.min), jnp.log(self.max) - log_l)]  # fmt: skip
        part = inside[0] * inside[1]
        shape = self._log_shape(theta, luminosity) - self._log_moment(theta, 0, jnp.asarray(self.min))
        return jnp.where(part > 0, shape + jnp.log(jnp.where(part > 0, part, 1.0)), -jnp.inf)

    def mean(self, theta: Parameters) -> jax.Array:
        lowest = jnp.asarray(self.min)
        return jnp.exp(self._log_moment(theta, 1, lowest) - self._log_moment(theta, 0, lowest))

    def above(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        lowest = jnp.clip(luminosity, self.min, self.max)
        share = jnp.exp(self._log_moment(theta, 0, lowest) - self._log_moment(theta, 0, jnp.asarray(self.min)))
        return jnp.where(luminosity < self.max, share, 0.0)

    def _log_shape(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        """log dN/dL, 0 at the highest break."""
        breaks, slopes = ([value_of(value, theta) for value in values] for values in (self.breaks, self.slopes))
        return log_broken_power_law(luminosity, slopes, breaks)

    def _log_moment(self, theta: Parameters, power: int, lowest: jax.Array) -> jax.Array:
        """log int_lowest^max L^power dN/dL dL, in closed form: the integrand is a power law between two breaks."""
        ends = [jnp.asarray(self.min), *[value_of(value, theta) for value in reversed(self.breaks)]]
        ends = [jnp.maximum(end, lowest) for end in [*ends, jnp.asarray(self.max)]]
        x = [jnp.log(end) for end in ends]
        height = [self._log_shape(theta, end) + (power + 1) * log_l for end, log_l in zip(ends, x, strict=True)]
        parts = jnp.stack([
            0.5 * (h0 + h1) + log_sinhc(0.5 * (h1 - h0)) + jnp.log(jnp.maximum(x1 - x0, 1e-300))
            for (h0, h1), (x0, x1) in zip(pairwise(height), pairwise(x), strict=True)
        ])  # fmt: skip
        return jax.nn.logsumexp(parts, axis=0)
