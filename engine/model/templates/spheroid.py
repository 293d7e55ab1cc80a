"""Profiles that are spheroids about a centre, round or flattened, with every number of their shape free."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from gammasky.engine.kernels.spheroid.geometry import MIN_PSI_DEG, SpheroidSky
from gammasky.engine.kernels.spheroid.op import in_frame, line_integral
from gammasky.engine.model.templates.in_space import InSpace, Position, Symmetry
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema

#: Lowest and highest value of each number of a spheroid: what the quadrature resolves, and what is on the sky.
LIMITS = {
    "scale_radius_kpc": (1.0, 1000.0),
    "axis_ratio": (0.2, 5.0),
    "tilt": (-360.0, 360.0),
    "centre_lon": (-180.0, 180.0),
    "centre_lat": (-89.0, 89.0),
}
INNERMOST_KPC, OUTERMOST_KPC = 0.01, 100.0  # of the radii that `volume` counts: steep cusps have no finite number
_RADII = 96  # where `volume` takes the density
ROUND = {"axis_ratio": 1.0, "tilt": 0.0, "centre_lon": 0.0, "centre_lat": 0.0}


class SpheroidSettings(Schema):
    """The numbers that all spheroids have.

    Args:
        scale_radius_kpc [kpc]: radius at which the slope of the density changes.
        sun_kpc [kpc]: distance of the Sun from the centre.
        axis_ratio: q, length of the spheroid's axis over that of its equator's radius: below 1 flattened, above 1
            drawn out along the axis; r^2 = x^2 + y^2 + (z / q)^2. The axis lies on the sky, at right angles to the line
            from the Sun to the centre.
        tilt [deg]: angle of the axis, from Galactic north towards positive longitudes.
        centre_lon, centre_lat [deg]: Galactic coordinates of the centre.
    """

    scale_radius_kpc: Value = 20.0
    sun_kpc: Annotated[float, Field(gt=0, lt=100)] = 8.224
    axis_ratio: Value = 1.0
    tilt: Value = 0.0
    centre_lon: Value = 0.0
    centre_lat: Value = 0.0

    @property
    def is_sphere(self) -> bool:
        """Whether it is a sphere at the Galactic Centre."""
        return all(getattr(self, name) == value for name, value in ROUND.items())

    @property
    def is_round(self) -> bool:
        """Whether it is a sphere at the Galactic Centre of a fixed scale."""
        return isinstance(self.scale_radius_kpc, float) and self.is_sphere

    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in them."""
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if self.is_round and name == "scale_radius_kpc":  # the kernel of spheres has limits of its own
                least = 0.0
            yield from uses_of(f"{where} {name}", value, least=least, most=most, what=name)

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Without the shape of what is round: such a model is written, and identified, as ever."""
        return self._told(handler(self))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self._told({name: getattr(self, name) for name in type(self).model_fields}).items()

    @staticmethod
    def _told(values: dict[str, Any]) -> dict[str, Any]:
        """A profile's own numbers first, and those of its shape where it is not round."""
        names = sorted(values, key=lambda name: name in SpheroidSettings.model_fields)
        return {name: values[name] for name in names if name not in ROUND or values[name] != ROUND[name]}


class Spheroid(InSpace):
    """Base of profiles that are a spheroid of some emissivity, which as a density of sources is their number."""

    @property
    @abstractmethod
    def settings(self) -> SpheroidSettings:
        """Its numbers."""

    @abstractmethod
    def log_emissivity(self, radius: jax.Array, scale_radius_kpc: jax.Array, theta: Parameters) -> jax.Array:
        """The logarithm, up to a constant, at scaled radii [kpc]."""

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        settings = self.settings
        sky = setting.geometry(SpheroidSky, sun_kpc=settings.sun_kpc)

        def intensity(theta: Parameters) -> jax.Array:
            scale = value_of(settings.scale_radius_kpc, theta)
            ratio, tilt, lon, lat = (value_of(getattr(settings, name), theta) for name in ROUND)
            return line_integral(lambda radius: self.log_emissivity(radius, scale, theta), ratio, tilt, lon, lat, sky)

        return intensity

    @property
    def centre_kpc(self) -> float:
        return self.settings.sun_kpc

    @property
    def symmetry(self) -> Symmetry:
        if self.settings.is_sphere:
            return "round"
        upright = all(getattr(self.settings, name) == 0.0 for name in ("tilt", "centre_lon", "centre_lat"))
        return "quarters" if upright else "none"

    def density(self, theta: Parameters, place: Position) -> jax.Array:
        ratio, *angles = (value_of(getattr(self.settings, name), theta) for name in ROUND)
        towards, equator, axis = in_frame(*place, *angles)
        squared = (towards - self.settings.sun_kpc) ** 2 + equator**2 + (axis / ratio) ** 2
        closest = self.settings.sun_kpc * np.deg2rad(MIN_PSI_DEG)
        return self._emissivity(jnp.sqrt(jnp.maximum(squared, closest**2)), theta)

    def volume(self, theta: Parameters) -> jax.Array:
        """Its integral over scaled radii from 0.01 to 100 kpc; q stretches one of three axes."""
        nodes, weights = np.polynomial.legendre.leggauss(_RADII)
        low, high = np.log(INNERMOST_KPC), np.log(OUTERMOST_KPC)
        radius = np.exp(0.5 * (low + high) + 0.5 * (high - low) * nodes)
        weight = 2.0 * np.pi * (high - low) * weights * radius**3
        ratio = value_of(self.settings.axis_ratio, theta)
        return ratio * jnp.sum(weight * self._emissivity(jnp.asarray(radius), theta))

    def _emissivity(self, radius: jax.Array, theta: Parameters) -> jax.Array:
        scale = value_of(self.settings.scale_radius_kpc, theta)
        return jnp.exp(self.log_emissivity(radius, scale, theta))
