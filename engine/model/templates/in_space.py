"""Profiles that are a density in space, of which their intensity on the sky is the integral along lines of sight."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

import jax

from gammasky.engine.model.templates.base import Profile
from gammasky.engine.model.values import Parameters

#: Which lines of sight see the same: at one angle from the Galactic Centre; of opposite longitudes and latitudes; of
#: opposite latitudes; none.
Symmetry = Literal["round", "quarters", "halves", "none"]


class Position(NamedTuple):
    """Places (...) [kpc] from the Sun: towards the Galactic Centre, towards longitude 90 deg, and towards the north."""

    x: jax.Array
    y: jax.Array
    z: jax.Array


class InSpace(Profile):
    """Base of profiles whose number density of sources per volume is known; all else than `density` is about it."""

    @property
    @abstractmethod
    def centre_kpc(self) -> float:
        """Distance of the Sun from the centre."""

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """Which lines of sight see the same, whatever the parameters."""

    @abstractmethod
    def density(self, theta: Parameters, place: Position) -> jax.Array:
        """Number density at places (...), in any unit."""

    @abstractmethod
    def volume(self, theta: Parameters) -> jax.Array:
        """The integral of `density` over space [kpc^3]."""

    def require_in_space(self, where: str) -> None:
        """Refuse settings with which only the intensity is known.

        Raises:
            InputError: says `where`.
        """
        del where
