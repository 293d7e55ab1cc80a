"""Draws of a guide and its density on the latent space, whatever coordinates it works in."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.coordinates import Coordinates
from gammasky.engine.infer.guides import Family

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
BLOCK = 250  # draws that are made at once


class GuideDraws:
    """Compiled programs for one family in some coordinates; the guide's parameters and its frame are arguments.

    `shape` tells families apart: the guide's name and its size.
    """

    def __init__(
        self, model: Density, shape: Hashable, family: Family, coordinates: Coordinates, key: jax.Array
    ) -> None:
        self._model, self._family, self._coordinates, self._key = model, family, coordinates, key
        in_fluxes = bool(coordinates.norms.size or coordinates.norm.size)
        self._shape = (shape, in_fluxes)
        self._program = model.program(("svi draws", self._shape), lambda: jax.jit(self._run))

    def draw(self, guide: Any, frame: Any, n_draws: int) -> tuple[Floats, Floats, Floats]:
        """Draws z (n, D), their log density log q(z) (n,), and the draws in the coordinates of the guide (n, D)."""
        keys = jax.random.split(jax.random.fold_in(self._key, 2**31 - 1), n_draws)
        # blocks of one size, the last filled up from the first: one compiled program for any number of draws
        blocks = [np.arange(first, first + BLOCK) % n_draws for first in range(0, n_draws, BLOCK)]
        parts = [self._program(guide, frame, keys[block]) for block in blocks]
        z, log_q, x = (np.concatenate(part)[:n_draws] for part in zip(*parts, strict=True))
        return z, log_q, x

    def log_density(self, guide: Any, frame: Any, z: Floats) -> Floats | None:
        """log q (n,) at any points z (n, D); None of a guide that has a density at its own draws only."""
        density = self._family.at_any_cost
        if density is None:
            return None

        def one(guide: Any, frame: Any, z: jax.Array) -> jax.Array:
            x = self._coordinates.from_latent(z)
            return density(guide, frame, x) - self._coordinates.to_latent(x)[1]

        batch = lambda guide, frame, z: jax.lax.map(partial(one, guide, frame), z, batch_size=BLOCK)  # noqa: E731
        program = self._model.program(("svi density", self._shape), lambda: jax.jit(batch))
        return np.asarray(program(guide, frame, jnp.asarray(z)))

    def _run(self, guide: Any, frame: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, log_q = jax.vmap(lambda key: self._family.sample(guide, frame, key))(keys)
        z, log_volume = jax.vmap(self._coordinates.to_latent)(x)
        return z, log_q - log_volume, x
