"""Templates as functions of the parameters: fixed maps, which matrix products add up, and what moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.kernels import callbacks
from gammasky.engine.model.values import Arrays, Parameters

FEW = 4  # maps that are added up without a product of matrices on a GPU
#: (arrays, theta, size, times) -> values in the first `size` of the N pixels, times that number. What moves takes the
#: number itself, so that its derivative by it needs no sum over pixels of its own where another one says it, too.
Evaluate = Callable[[Arrays, Parameters, int, jax.Array | float], jax.Array]


def _no_shares(_arrays: Arrays, _theta: Parameters) -> jax.Array:
    return jnp.zeros(0)


def _together(shares: jax.Array, maps: jax.Array) -> jax.Array:
    """The sum (size,) of maps (maps, size), each times its share.

    Of a few maps on a GPU it is no product of matrices, which would be launches of its own, and for the derivatives by
    the shares ones that are badly parallel.
    """
    if callbacks.platform() == "gpu" and len(maps) <= FEW:
        return jnp.sum(shares[:, None] * maps, axis=0)
    return shares @ maps


def _one(_arrays: Arrays, _theta: Parameters) -> jax.Array:
    return jnp.ones(1)


@dataclass(frozen=True)
class Function:
    """A template as a function of the parameters: the sum of fixed maps, each times its share, and of what moves.

    Attributes:
        maps: keys of the fixed maps (N,) in the table of arrays.
        shares: (arrays, theta) -> share of each fixed map (maps,).
        moving: the rest; None where there is none.
    """

    maps: tuple[str, ...] = ()
    shares: Callable[[Arrays, Parameters], jax.Array] = _no_shares
    moving: Evaluate | None = None

    @classmethod
    def fixed(cls, key: str) -> Function:
        """The map of that key."""
        return cls((key,), _one)

    def __call__(self, arrays: Arrays, theta: Parameters, size: int) -> jax.Array:
        """Values (size,) in the first pixels."""
        maps = jnp.stack([arrays[key][:size] for key in self.maps]) if self.maps else jnp.zeros((0, size))
        return self.from_maps(maps, arrays, theta)

    def from_maps(self, maps: jax.Array, arrays: Arrays, theta: Parameters) -> jax.Array:
        """The same, from the fixed maps (maps, size) in those pixels."""
        size = maps.shape[1]
        if self.moving is None:
            return _together(self.shares(arrays, theta), maps) if self.maps else jnp.zeros(size)
        moving = self.moving(arrays, theta, size, 1.0)
        return _together(self.shares(arrays, theta), maps) + moving if self.maps else moving

    @classmethod
    def sum(cls, factors: Callable[[Parameters], jax.Array | list[jax.Array]], parts: Sequence[Function]) -> Function:
        """The sum of functions, each times the number that `factors` gives for it."""
        numbers = range(len(parts))
        with_maps, with_moving = (
            [n for n in numbers if parts[n].maps],
            [n for n in numbers if parts[n].moving is not None],
        )
        all_fixed = all(part.shares is _one for part in parts)

        def shares(arrays: Arrays, theta: Parameters) -> jax.Array:
            given = factors(theta)
            if all_fixed:
                return jnp.asarray(given)
            return jnp.concatenate([given[n] * parts[n].shares(arrays, theta) for n in with_maps])

        def moving(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
            given, total = factors(theta), jnp.zeros(size)
            for n in with_moving:
                evaluate = parts[n].moving
                assert evaluate is not None  # as above
                total = total + evaluate(arrays, theta, size, times * given[n])
            return total

        maps = tuple(key for part in parts for key in part.maps)
        return cls(maps, shares if maps else _no_shares, moving if with_moving else None)

    def table(self, arrays: Arrays, size: int) -> np.ndarray:
        """The fixed maps (maps, size) in the first pixels."""
        return np.array([arrays[key][:size] for key in self.maps]).reshape(len(self.maps), size)
