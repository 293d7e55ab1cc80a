"""The prior of the nodes of a smooth curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import jax
import numpy as np
from pydantic import Field

from gammasky.engine.errors import InputError
from gammasky.engine.model.priors.base import PRIORS, Floats, PriorKind, Slot
from gammasky.engine.model.priors.normal import Normal
from gammasky.engine.model.values import Parameters, Use


@PRIORS.add
class Smooth(PriorKind):
    """Nodes of a smooth curve: a Gaussian level, slope and second differences, the latter small where it is smooth.

        y_j = mean + level_sd z_0 + slope_sd (j - c) z_1 + curvature_sd sum_k h_k(j) z_k

    for nodes j = 0 .. n - 1 with the middle c, where h_k has a second difference of 1 at node k - 1 alone and grows
    away from the middle: level and slope are those of the middle (an integrated random walk, whose mean given data is
    a cubic spline: Wahba 1978, J. R. Stat. Soc. B 40, 364).

    Args:
        mean: mean of the level.
        level_sd: standard deviation of the level at the middle.
        slope_sd: standard deviation of the slope there, by node.
        curvature_sd: standard deviation of the second differences; the smaller, the smoother.
    """

    kind: ClassVar[str] = "smooth"

    prior: Literal["smooth"]
    mean: float
    level_sd: Annotated[float, Field(gt=0)]
    slope_sd: Annotated[float, Field(gt=0)]
    curvature_sd: Annotated[float, Field(gt=0)]

    def matrix(self, n: int) -> Floats:
        """The matrix (n, n) with which the nodes are y = mean + matrix @ z."""
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

    def latent_size(self, n_elements: int) -> int:
        return n_elements

    @classmethod
    def tables(cls, slots: Sequence[Slot]) -> dict[str, Floats]:
        return {
            slot.name: np.column_stack([slot.prior.matrix(slot.n_latent), np.full(slot.n_latent, slot.prior.mean)])
            for slot in slots
        }

    @classmethod
    def values(cls, tables: Any, z: jax.Array, slots: Sequence[Slot]) -> Parameters:
        found = {}
        for slot in slots:
            at, curve = slot.start - slots[0].start, tables[slot.name]
            found[slot.name] = curve[:, :-1] @ z[at : at + slot.n_latent] + curve[:, -1]
        return found

    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def to_box(self, value: Floats) -> Floats:
        nodes = np.asarray(value, dtype=np.float64)
        return np.asarray(np.linalg.solve(self.matrix(len(nodes)), nodes - self.mean), dtype=np.float64)

    def cumulative(self, x: Floats, element: int = 0, n_elements: int = 1) -> Floats:
        return self.marginal(element, n_elements).cumulative(x)

    def shown(self, element: int = 0, n_elements: int = 1) -> tuple[float, float]:
        return self.marginal(element, n_elements).shown()

    def require_fit(self, name: str, use: Use) -> None:
        if not use.elements or use.shares:
            raise InputError(
                f"{use.where}: parameter '{name}' has a smooth prior, which is for the values of a free dN/dS"
            )
