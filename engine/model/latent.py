"""The latent space: every parameter on its prior's own quantile scale, one vector z ~ N(0, 1)^D."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.model.priors import PRIORS, PriorKind, Slot
from gammasky.engine.model.values import Parameters


class Latent:
    """Layout of z: parameters kind by kind of their priors, so that each kind is one operation on a part of z.

    Args:
        priors: prior of each parameter.
        labels: names of the elements of each vector parameter; () for a single number.

    Attributes:
        slots: where each parameter lies, by name, in the order of `priors`.
        n_latent: dimension D.
    """

    def __init__(self, priors: Mapping[str, PriorKind], labels: Mapping[str, tuple[str, ...]]) -> None:
        kinds = list(PRIORS.kinds.values())
        order = sorted(priors, key=lambda name: kinds.index(type(priors[name])))  # stable: file order within a kind
        self._slots: list[Slot] = []
        for name in order:
            start = self._slots[-1].start + self._slots[-1].n_latent if self._slots else 0
            self._slots.append(Slot(name, priors[name], labels[name], start))
        by_name = {slot.name: slot for slot in self._slots}
        self.slots = {name: by_name[name] for name in priors}
        self.n_latent = sum(slot.n_latent for slot in self._slots)
        self._kinds = {
            word: [slot for slot in self._slots if type(slot.prior) is kind]
            for word, kind in PRIORS.kinds.items()
            if any(type(slot.prior) is kind for slot in self._slots)
        }

    def arrays(self) -> dict[str, Any]:
        """The numbers of the priors, by kind."""
        return {word: PRIORS.kinds[word].tables(slots) for word, slots in self._kinds.items()}

    def parameters(self, arrays: dict[str, Any], z: jax.Array) -> Parameters:
        """theta by name from z (D,)."""
        found: Parameters = {}
        for word, slots, part in self._parts(z):
            found |= PRIORS.kinds[word].values(arrays[word], part, slots)
        return {name: found[name] for name in self.slots}

    def in_box(self, arrays: dict[str, Any], x: jax.Array) -> Parameters:
        """theta by name from coordinates x (D,) in the box, axis by axis those of z; see `PriorKind.box`."""
        found: Parameters = {}
        for word, slots, part in self._parts(x):
            found |= PRIORS.kinds[word].in_box(arrays[word], part, slots)
        return {name: found[name] for name in self.slots}

    def box(self) -> np.ndarray:
        """Lower and upper limits (D, 2) of the coordinates in the box."""
        limits = [slot.prior.box(len(slot.labels)) for slot in self._slots for _ in range(slot.n_latent)]
        return np.array(limits, dtype=np.float64).reshape(-1, 2)

    def to_box(self, theta: Mapping[str, Any]) -> np.ndarray:
        """The coordinates in the box (D,) of parameters by name."""
        return np.concatenate([slot.prior.to_box(np.asarray(theta[slot.name])) for slot in self._slots])

    def _parts(self, point: jax.Array) -> Iterator[tuple[str, list[Slot], jax.Array]]:
        """Each kind of prior, its parameters, and their part of a point (D,)."""
        for word, slots in self._kinds.items():
            yield word, slots, point[slots[0].start : slots[-1].start + slots[-1].n_latent]

    @property
    def names(self) -> list[str]:
        """A name for each entry of z (D,)."""
        names = []
        for slot in self._slots:
            labels = slot.labels[: slot.n_latent]
            names += [f"{slot.name}[{label}]" for label in labels] if slot.labels else [slot.name]
        return names


def log_standard_normal(z: jax.Array) -> jax.Array:
    """log density of N(0, 1)^D at z (D,)."""
    return -0.5 * jnp.sum(z**2) - 0.5 * z.size * jnp.log(2 * jnp.pi)
