"""A free source-count function: its values at nodes, and a spline between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from gammasky.engine.model.source_counts.base import SOURCE_COUNTS, SourceCounts
from gammasky.engine.model.values import Arrays, Parameters, Use


@SOURCE_COUNTS.add
class FreeSourceCounts(SourceCounts):
    """Free dN/dS: values of log10(S^2 dN/dS) at nodes, and a spline between them in log S.

    Without a norm the values are absolute [counts per pixel]; with one they are relative: only the shape counts.

    Args:
        nodes [counts]: rising source counts.
        values: log10(S^2 dN/dS) at the nodes: numbers, or the name of a parameter that holds them all.
        degree: degree of the spline: 3 is the natural cubic one, 1 joins the nodes by straight lines.
    """

    kind: ClassVar[str] = "free"
    absolute: ClassVar[bool] = True

    nodes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3)]
    values: str | list[float]
    degree: Literal[1, 3] = 3

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if any(b <= a for a, b in pairwise(self.nodes)):
            raise ValueError(f"nodes must rise, got {self.nodes}")
        if isinstance(self.values, list) and len(self.values) != len(self.nodes):
            raise ValueError(f"{len(self.nodes)} nodes need as many values, got {len(self.values)}")
        return self

    def uses(self, where: str) -> Iterator[Use]:
        if isinstance(self.values, str):
            yield Use(self.values, f"{where}, source_counts values", tuple(f"{node:g}" for node in self.nodes))

    def tables(self, s: ArrayLike) -> Arrays:
        return {"spline": spline_matrix(s, self.nodes, self.degree)}

    def shape(self, theta: Parameters, s: jax.Array, tables: Arrays) -> jax.Array:
        values = theta[self.values] if isinstance(self.values, str) else jnp.asarray(self.values)
        return free_form(s, tables["spline"], values)


def spline_matrix(s: ArrayLike, nodes: ArrayLike, degree: int) -> NDArray[np.float64]:
    """Values at s (S,) of the spline in log s through nodes (n,), as a matrix (S, n) for the values there.

    Degree 1 joins the nodes by straight lines, degree 3 is the natural cubic spline; beyond the nodes both go on
    straight.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    x, knots = np.log(np.asarray(s, dtype=np.float64)), np.log(np.asarray(nodes, dtype=np.float64))
    unit = np.eye(knots.size)
    spline = make_interp_spline(knots, unit, k=1) if degree == 1 else CubicSpline(knots, unit, bc_type="natural")
    inside = np.clip(x, knots[0], knots[-1])
    # at the last knot the slope is that from the left
    ends = np.where(x < knots[0], knots[0], np.nextafter(knots[-1], knots[0]))
    slope = spline.derivative()(ends)
    return np.asarray(spline(inside) + slope * (x - inside)[:, None])


def free_form(s: jax.Array, matrix: jax.Array, values: jax.Array) -> jax.Array:
    """dN/dS (S,) of which log10(S^2 dN/dS) has these values (n,) at the nodes of `matrix` (S, n)."""
    return 10.0 ** (matrix @ values) / s**2
