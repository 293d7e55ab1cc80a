"""The latent space: every parameter on its prior's own quantile scale, one vector z ~ N(0, 1)^D."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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
        blocks: names of the parameters whose elements are shown together only.

    Attributes:
        slots: where each parameter lies, by name, in the order of `priors`.
        n_latent: dimension D.
        n_plain: the first so many axes are those of parameters that are no block.
    """

    def __init__(
        self, priors: Mapping[str, PriorKind], labels: Mapping[str, tuple[str, ...]], blocks: Collection[str] = ()
    ) -> None:
        kinds = list(PRIORS.kinds.values())
        # stable: file order within a kind; blocks come last
        order = sorted(priors, key=lambda name: (name in blocks, kinds.index(type(priors[name]))))
        self._slots: list[Slot] = []
        for name in order:
            start = self._slots[-1].start + self._slots[-1].n_latent if self._slots else 0
            self._slots.append(Slot(name, priors[name], labels[name], start, name in blocks))
        by_name = {slot.name: slot for slot in self._slots}
        self.slots = {name: by_name[name] for name in priors}
        self.n_latent = sum(slot.n_latent for slot in self._slots)
        self.n_plain = sum(slot.n_latent for slot in self._slots if not slot.block)
        self._kinds: dict[str, tuple[type[PriorKind], list[Slot]]] = {}
        for slot in self._slots:
            word = f"{slot.prior.kind} blocks" if slot.block else slot.prior.kind
            self._kinds.setdefault(word, (type(slot.prior), []))[1].append(slot)

    def arrays(self) -> dict[str, Any]:
        """The numbers of the priors, by kind."""
        return {word: kind.tables(slots) for word, (kind, slots) in self._kinds.items()}

    def parameters(self, arrays: dict[str, Any], z: jax.Array) -> Parameters:
        """theta by name from z (D,)."""
        found: Parameters = {}
        for word, slots, part in self._parts(z):
            found |= self._kinds[word][0].values(arrays[word], part, slots)
        return {name: found[name] for name in self.slots}

    def in_box(self, arrays: dict[str, Any], x: jax.Array) -> Parameters:
        """theta by name from coordinates x (D,) in the box, axis by axis those of z; see `PriorKind.box`."""
        found: Parameters = {}
        for word, slots, part in self._parts(x):
            found |= self._kinds[word][0].in_box(arrays[word], part, slots)
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
        for word, (_, slots) in self._kinds.items():
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
