"""The layers of a flow as a GPU is to record them: one after the other, and without a search for the bin of a spline.

They hold the parameters of flowjax's `Scan` and `RationalQuadraticSpline` in the same places, and are the same
functions up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, RationalQuadraticSpline


class Layers(AbstractBijection):
    """Layers of one kind, whose arrays have a leading axis over them."""

    bijection: AbstractBijection
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[jax.Array, jax.Array]:
        log_det = jnp.zeros((), x.dtype)
        for layer in self._each():
            x, of_layer = layer.transform_and_log_det(x, condition)
            log_det += of_layer.sum()
        return x, log_det

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[jax.Array, jax.Array]:
        log_det = jnp.zeros((), y.dtype)
        for layer in reversed(list(self._each())):
            y, of_layer = layer.inverse_and_log_det(y, condition)
            log_det += of_layer.sum()
        return y, log_det

    def _each(self) -> Iterator[Any]:
        arrays, rest = equinox.partition(self.bijection, equinox.is_array)
        for number in range(len(jax.tree.leaves(arrays)[0])):
            yield equinox.combine(jax.tree.map(lambda leaf: leaf[number], arrays), rest)  # noqa: B023


class Bin(NamedTuple):
    """The bin of a spline that holds a number: its ends, left and right, and the slopes there."""

    x: jax.Array
    x_next: jax.Array
    y: jax.Array
    y_next: jax.Array
    slope: jax.Array
    slope_next: jax.Array


class Spline(RationalQuadraticSpline):
    """flowjax's spline (arXiv:1906.04032, section 3.1), the identity beyond its interval."""

    def transform_and_log_det(self, x: Any, _condition: Any = None) -> tuple[jax.Array, jax.Array]:
        low, high = self.interval
        inside = (x >= low) & (x <= high)
        of = self._bin(self.x_pos, jnp.clip(x, low, high))
        share = (jnp.clip(x, low, high) - of.x) / (of.x_next - of.x)
        rise = of.y_next - of.y
        mean = rise / (of.x_next - of.x)
        mixed = share * (1 - share)
        y = of.y + rise * (mean * share**2 + of.slope * mixed) / (mean + (of.slope_next + of.slope - 2 * mean) * mixed)
        slope = jnp.where(inside, _slope(of, mean, share), 1.0)
        return jnp.where(inside, jnp.clip(y, low, high), x), jnp.log(slope)

    def inverse_and_log_det(self, y: Any, _condition: Any = None) -> tuple[jax.Array, jax.Array]:
        low, high = self.interval
        inside = (y >= low) & (y <= high)
        of = self._bin(self.y_pos, jnp.clip(y, low, high))
        rise, above = of.y_next - of.y, jnp.clip(y, low, high) - of.y
        mean = rise / (of.x_next - of.x)
        bend = above * (of.slope_next + of.slope - 2 * mean)
        a, b, c = rise * (mean - of.slope) + bend, rise * of.slope - bend, -mean * above
        share = 2 * c / (-b - jnp.sqrt(b**2 - 4 * a * c))
        x = jnp.clip(share * (of.x_next - of.x) + of.x, low, high)
        slope = jnp.where(inside, _slope(of, mean, share), 1.0)
        return jnp.where(inside, x, y), -jnp.log(slope)

    def _bin(self, edges: jax.Array, at: jax.Array) -> Bin:
        """The bin between two of `edges` that holds `at`; a sum over all bins of which one counts."""
        chosen = jnp.arange(len(edges) - 1) == jnp.sum(edges[1:-1] < at)
        ends = [part for values in (self.x_pos, self.y_pos, self.derivatives) for part in (values[:-1], values[1:])]
        return Bin(*jnp.sum(jnp.where(chosen, jnp.stack(ends), 0.0), axis=1))


def _slope(of: Bin, mean: jax.Array, share: jax.Array) -> jax.Array:
    """dy/dx at a share of a bin."""
    mixed = share * (1 - share)
    top = mean**2 * (of.slope_next * share**2 + 2 * mean * mixed + of.slope * (1 - share) ** 2)
    return top / (mean + (of.slope_next + of.slope - 2 * mean) * mixed) ** 2
