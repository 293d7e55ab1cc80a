"""The broken power law with any number of breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.model.priors import PriorKind
from gammasky.engine.model.source_counts.base import SOURCE_COUNTS, Limits, SourceCounts
from gammasky.engine.model.values import Arrays, Parameters, Use, Value, limits_of, uses_of, value_of


@SOURCE_COUNTS.add
class BrokenPowerLaw(SourceCounts):
    """Broken power law dN/dS with any number of breaks.

    Args:
        slopes: powers of 1/S, from above the highest break to below the lowest; one more than there are breaks.
        breaks [counts]: the highest first.
        relative: whether the breaks after the first are factors of the one before.
    """

    kind: ClassVar[str] = "broken power law"

    slopes: list[Value]
    breaks: Annotated[list[Value], Field(min_length=1)]
    relative: bool = False

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.slopes) != len(self.breaks) + 1:
            raise ValueError(f"{len(self.breaks)} breaks need {len(self.breaks) + 1} slopes, got {len(self.slopes)}")
        fixed = [value for value in self.breaks if isinstance(value, float)]
        if any(value <= 0 for value in fixed):
            raise ValueError(f"breaks must be positive, got {min(fixed):g}")
        if self.relative:
            if any(isinstance(value, float) and value >= 1 for value in self.breaks[1:]):
                raise ValueError("relative breaks after the first must be below 1")
        elif fixed != sorted(fixed, reverse=True):
            raise ValueError(f"breaks must fall from the highest to the lowest, got {fixed}")
        return self

    def uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, source_counts slopes", *self.slopes)
        yield from uses_of(f"{where}, source_counts breaks", *self.breaks)

    def shape(self, theta: Parameters, s: jax.Array, tables: Arrays) -> jax.Array:
        """dN/dS (S,) relative to its value at the highest break."""
        del tables
        return broken_power_law(s, *self._numbers(theta))

    @classmethod
    def shapes(
        cls, several: Sequence[Self], theta: Parameters, s: jax.Array, tables: Sequence[Arrays]
    ) -> list[jax.Array]:
        """Those with one number of breaks are one operation, but not those of a class with a shape of its own."""
        if cls.shape is not BrokenPowerLaw.shape or len({len(one.slopes) for one in several}) > 1:
            return super().shapes(several, theta, s, tables)
        slopes, breaks = zip(*(one._numbers(theta) for one in several), strict=True)
        together = jax.vmap(broken_power_law, (None, 0, 0))
        return list(
            jnp.unstack(together(s, *(jnp.stack([jnp.stack(own) for own in part]) for part in (slopes, breaks))))
        )

    def _numbers(self, theta: Parameters) -> tuple[list[jax.Array], list[jax.Array]]:
        """Slopes, and breaks [counts]."""
        breaks = absolute_breaks([value_of(value, theta) for value in self.breaks], self.relative)
        return [value_of(value, theta) for value in self.slopes], breaks

    def require_priors(self, where: str, priors: Mapping[str, PriorKind], limits: Limits) -> None:
        """Breaks are positive, stay in order for all values that their priors allow, and lie on the grid of S."""
        of_priors = {name: prior.support() for name, prior in priors.items()}
        supports = [limits_of(f"{where}, source_counts breaks", b, of_priors) for b in self.breaks]
        names = [str(b) for b in self.breaks]
        for position, (name, (low, high)) in enumerate(zip(names, supports, strict=True)):
            if low <= 0:
                raise InputError(f"{where}: break '{name}' must be positive, its prior starts at {low:g}")
            if position == 0:
                continue
            if self.relative and high > 1:
                raise InputError(
                    f"{where}: breaks out of order: relative break '{name}' must stay below 1, its prior ends at "
                    f"{high:g}"
                )
            if not self.relative and high > supports[position - 1][0]:
                raise InputError(
                    f"{where}: breaks out of order: '{name}' reaches {high:g}, above the lowest "
                    f"'{names[position - 1]}' = {supports[position - 1][0]:g}; separate the priors or set "
                    "relative = true"
                )
        self._require_on_grid(where, names, supports, limits)

    def _require_on_grid(
        self, where: str, names: Sequence[str], supports: Sequence[tuple[float, float]], limits: Limits
    ) -> None:
        """Above the grid no source counts, so that neither likelihood nor flux would depend on a break there."""
        lows, highs = (list(side) for side in zip(*supports, strict=True))
        if self.relative:
            lows, highs = ([math.prod(side[: n + 1]) for n in range(len(side))] for side in (lows, highs))
        for name, low, high in zip(names, lows, highs, strict=True):
            if high > limits[1] or high < limits[0]:
                raise InputError(
                    f"{where}: break '{name}' may lie anywhere from {low:g} to {high:g} {limits.unit}, but the source "
                    f"grid reaches from {limits[0]:g} to {limits[1]:g}, and nothing depends on a break beyond it; "
                    "narrow the prior, or widen source_grid"
                )

    def require_point(self, where: str, theta: Parameters) -> None:
        """Breaks are positive and fall at this point."""
        given = [value_of(value, theta) for value in self.breaks]
        breaks = [float(value) for value in absolute_breaks(given, self.relative)]
        if breaks[-1] <= 0 or any(lower > upper for upper, lower in pairwise(breaks)):
            raise InputError(
                f"{where}: breaks out of order: expected positive counts from the highest to the lowest, got "
                f"{', '.join(f'{value:g}' for value in breaks)} from {', '.join(str(value) for value in self.breaks)}"
            )


def absolute_breaks(breaks: Sequence[jax.Array], relative: bool) -> list[jax.Array]:
    """Breaks [counts], the highest first; with `relative`, each but the first is a factor of the one before."""
    if not relative:
        return list(breaks)
    absolute = [breaks[0]]
    for factor in breaks[1:]:
        absolute.append(absolute[-1] * factor)
    return absolute


def broken_power_law(
    s: jax.Array, slopes: Sequence[jax.Array] | jax.Array, breaks: Sequence[jax.Array] | jax.Array
) -> jax.Array:
    """Continuous broken power law, 1 at the highest break.

        dN/dS ~ S^-n1 above b1, S^-n2 between b2 and b1, ..., S^-n_{k+1} below b_k

    Args:
        s (S,) [counts]: where to evaluate.
        slopes: n1 .. n_{k+1}, from above the highest break to below the lowest.
        breaks: b1 > b2 > ... > b_k [counts].

    Returns:
        dN/dS (S,) relative to its value at b1.

    Source: arXiv:2604.08648; for k = 1 NPTFit (arXiv:1612.03173), eq. 2.
    """
    return jnp.exp(log_broken_power_law(s, slopes, breaks))


def log_broken_power_law(
    s: jax.Array, slopes: Sequence[jax.Array] | jax.Array, breaks: Sequence[jax.Array] | jax.Array
) -> jax.Array:
    """The logarithm of `broken_power_law` (...) at s (...)."""
    slope, high = (part if isinstance(part, jax.Array) else jnp.stack(part) for part in (slopes, breaks))
    log_s, knots = jnp.log(s), jnp.log(high)
    # straight on each piece, height - slope log s, and continuous where two of them meet: a reverse pass then has only
    # sums over each piece to find, with and without log s
    height = slope * knots[0] + jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.diff(slope) * (knots - knots[0]))])
    below, height, slope = (part.reshape(-1, *[1] * log_s.ndim) for part in (knots, height, slope))
    piece = jnp.sum(log_s < below, axis=0) == jnp.arange(len(height)).reshape(height.shape)
    return jnp.sum(jnp.where(piece, height - slope * log_s, 0.0), axis=0)
