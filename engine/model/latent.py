"""The latent space: every parameter on its prior's own quantile scale, one vector z ~ N(0, 1)^D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.model import dirichlet
from gammasky.engine.model.priors import SCALAR_KINDS, Dirichlet, Scalar, Smooth

Parameters = dict[str, jax.Array]


@dataclass(frozen=True)
class Slot:
    """Where one parameter lies in z: `labels` names its elements, () for a scalar."""

    name: str
    prior: Scalar | Dirichlet | Smooth
    labels: tuple[str, ...]
    start: int

    @property
    def n_latent(self) -> int:
        """Entries of z: one for a scalar, n for a vector, n - 1 for n fractions."""
        return len(self.labels) - 1 if isinstance(self.prior, Dirichlet) else max(len(self.labels), 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter: () or (n,)."""
        return (len(self.labels),) if self.labels else ()


class Latent:
    """Layout of z: scalars kind by kind (so that each kind is one vector operation), then Dirichlet sticks,
    then nodes of smooth curves.

    Args:
        priors: prior of each parameter.
        labels: names of the elements of each vector parameter; () for a scalar.
    """

    def __init__(
        self, priors: Mapping[str, Scalar | Dirichlet | Smooth], labels: Mapping[str, tuple[str, ...]]
    ) -> None:
        kinds = [*SCALAR_KINDS, Dirichlet, Smooth]
        order = sorted(priors, key=lambda name: kinds.index(type(priors[name])))  # stable: file order within a kind
        slots: list[Slot] = []
        for name in order:
            start = slots[-1].start + slots[-1].n_latent if slots else 0
            slots.append(Slot(name, priors[name], labels[name], start))
        self._slots = slots
        self.slots = {name: next(slot for slot in slots if slot.name == name) for name in priors}
        self.n_latent = sum(slot.n_latent for slot in slots)

    def arrays(self) -> dict[str, Any]:
        """The numbers of the priors: per kind (2, n), per Dirichlet parameter its stick tables, per smooth curve of n
        nodes (n, n + 1), its matrix and mean."""
        numbers = {
            kind.__name__: np.array([slot.prior.numbers() for slot in self._of(kind) for _ in range(slot.n_latent)]).T
            for kind in SCALAR_KINDS
            if self._of(kind)
        }
        tables = {
            slot.name: dirichlet.stick_tables(slot.prior.alphas(len(slot.labels))) for slot in self._of(Dirichlet)
        }
        curves = {
            slot.name: np.column_stack([slot.prior.matrix(slot.n_latent), np.full(slot.n_latent, slot.prior.mean)])
            for slot in self._of(Smooth)
        }
        return {"numbers": numbers, "sticks": tables} | ({"curves": curves} if curves else {})

    def parameters(self, arrays: dict[str, Any], z: jax.Array) -> Parameters:
        """theta by name from z (D,)."""
        found: Parameters = {}
        for kind in SCALAR_KINDS:
            slots = self._of(kind)
            if slots:
                first, last = slots[0].start, slots[-1].start + slots[-1].n_latent
                values = kind.quantile(z[first:last], *arrays["numbers"][kind.__name__])
                for slot in slots:
                    at = slot.start - first
                    found[slot.name] = values[at : at + slot.n_latent] if slot.labels else values[at]
        for slot in self._of(Dirichlet):
            found[slot.name] = dirichlet.fractions(
                arrays["sticks"][slot.name], z[slot.start : slot.start + slot.n_latent]
            )
        for slot in self._of(Smooth):
            curve = arrays["curves"][slot.name]
            found[slot.name] = curve[:, :-1] @ z[slot.start : slot.start + slot.n_latent] + curve[:, -1]
        return {name: found[name] for name in self.slots}

    @property
    def names(self) -> list[str]:
        """A name for each entry of z (D,)."""
        names = []
        for slot in self._slots:
            labels = slot.labels[: slot.n_latent]
            names += [f"{slot.name}[{label}]" for label in labels] if slot.labels else [slot.name]
        return names

    def _of(self, kind: type) -> list[Any]:
        return [slot for slot in self._slots if type(slot.prior) is kind]


def log_standard_normal(z: jax.Array) -> jax.Array:
    """log density of N(0, 1)^D at z (D,)."""
    return -0.5 * jnp.sum(z**2) - 0.5 * z.size * jnp.log(2 * jnp.pi)
