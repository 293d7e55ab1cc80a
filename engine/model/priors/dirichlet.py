"""The Dirichlet prior of the shares of a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator
from scipy.special import betainc

from gammasky.engine.errors import InputError
from gammasky.engine.model.priors import sticks
from gammasky.engine.model.priors.base import PRIORS, Floats, PriorKind, Slot
from gammasky.engine.model.values import Parameters, Use

#: How far fractions that come from a text file may be from adding up to 1.
SUM_TOLERANCE = 1e-6


@PRIORS.add
class Dirichlet(PriorKind):
    """Dirichlet over the shares of the n members of a mixture.

    Args:
        concentration: one number for all members or one for each; 1/n where it is not given.
    """

    kind: ClassVar[str] = "dirichlet"

    prior: Literal["dirichlet"]
    concentration: float | list[float] | None = None

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.concentration is not None and not np.all(np.asarray(self.concentration) > 0):
            raise ValueError(f"concentration must be positive, got {self.concentration}")
        return self

    def alphas(self, n: int) -> Floats:
        """Concentrations (n,) for a mixture of n members."""
        if self.concentration is None:
            return np.full(n, 1.0 / n)
        return np.broadcast_to(np.asarray(self.concentration, dtype=np.float64), (n,))

    def latent_size(self, n_elements: int) -> int:
        return n_elements - 1

    @classmethod
    def tables(cls, slots: Sequence[Slot]) -> list[Floats]:
        """The tables (parameters, n - 1, 2, nodes) of each run of parameters that have the same length."""
        of_slot = sticks.stick_tables
        return [np.stack([of_slot(slot.prior.alphas(len(slot.labels))) for slot in run]) for run in _runs(slots)]

    @classmethod
    def values(cls, tables: Any, z: jax.Array, slots: Sequence[Slot]) -> Parameters:
        found: Parameters = {}
        for of_run, run in zip(tables, _runs(slots), strict=True):
            first, size = run[0].start - slots[0].start, run[0].n_latent
            own = z[first : first + len(run) * size].reshape(len(run), size)
            shares = jnp.unstack(jax.vmap(sticks.fractions)(of_run, own))
            found |= {slot.name: row for slot, row in zip(run, shares, strict=True)}
        return found

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0

    def box(self, n_elements: int) -> tuple[float, float]:
        del n_elements
        return 0.0, 1.0

    @classmethod
    def in_box(cls, tables: Any, x: jax.Array, slots: Sequence[Slot]) -> Parameters:
        """The shares theta_j = x_j prod_{i<j} (1 - x_i) of sticks x_j, whatever the concentrations."""
        del tables
        found = {}
        for slot in slots:
            stick = x[slot.start - slots[0].start :][: slot.n_latent]
            before = jnp.concatenate([jnp.ones(1), jnp.cumprod(1.0 - stick)])
            found[slot.name] = before * jnp.concatenate([stick, jnp.ones(1)])
        return found

    def to_box(self, value: Floats) -> Floats:
        shares = np.asarray(value, dtype=np.float64)
        rest = np.cumsum(shares[::-1])[::-1][:-1]  # of a stick that nothing is left of, any part
        return np.divide(shares[:-1], rest, out=np.full(len(rest), 0.5), where=rest > 0)

    def cumulative(self, x: Floats, element: int = 0, n_elements: int = 1) -> Floats:
        """That of one share, Beta(alpha_i, sum_{j != i} alpha_j)."""
        alphas = self.alphas(n_elements)
        others = float(alphas.sum() - alphas[element])
        return np.asarray(betainc(alphas[element], others, x)) if others else np.where(x < 1, 0.0, 1.0)

    def require_fit(self, name: str, use: Use) -> None:
        if not use.shares:
            raise InputError(
                f"{use.where}: parameter '{name}' has a dirichlet prior, expected a prior of a single number"
            )
        if isinstance(self.concentration, list) and len(self.concentration) != len(use.elements):
            raise InputError(
                f"prior of '{name}': expected {len(use.elements)} concentrations for {', '.join(use.elements)}, "
                f"got {len(self.concentration)}"
            )

    def require_possible(self, name: str, value: Floats) -> None:
        if (value < 0).any() or abs(value.sum() - 1.0) > SUM_TOLERANCE:
            raise InputError(
                f"parameter '{name}': expected fractions of at least 0 that add up to 1, got {value.tolist()} "
                f"(sum {value.sum():.9g})"
            )

    def require_inside(self, name: str, value: Floats) -> None:
        self.require_possible(name, value)


def _runs(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Parameters that follow each other and have as many elements: they are one operation."""
    return [list(run) for _, run in groupby(slots, lambda slot: len(slot.labels))]
