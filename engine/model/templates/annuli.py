"""A free radial profile: rings about a centre, each with a share of the flux."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.model.templates.base import TEMPLATES, Template, per_intensity
from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema

Share = Annotated[float, Field(ge=0)]


class AnnuliSettings(Schema):
    """Rings about a centre, evenly bright each, and dark outside of all.

    Args:
        edges_deg [deg]: rising angles from the centre, one more than there are rings.
        shares: of the flux in the rings, in the region of interest: a Dirichlet parameter, or numbers, of which only
            the ratios count.
        centre_lon, centre_lat [deg]: Galactic coordinates of the centre.
    """

    edges_deg: Annotated[tuple[Annotated[float, Field(ge=0, le=180)], ...], Field(min_length=2)]
    shares: str | Annotated[tuple[Share, ...], Field(min_length=1)]
    centre_lon: float = 0.0
    centre_lat: float = 0.0

    @model_validator(mode="after")
    def _rings(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges_deg)):
            raise ValueError(f"edges_deg must rise, got {list(self.edges_deg)}")
        if not isinstance(self.shares, str):
            if len(self.shares) != len(self.edges_deg) - 1:
                raise ValueError(
                    f"expected {len(self.edges_deg) - 1} shares, one for each ring, got {len(self.shares)}"
                )
            if not sum(self.shares) > 0:
                raise ValueError("shares are zero in all rings")
        return self


@TEMPLATES.add
class AnnuliTemplate(Template):
    """A free radial profile in rings.

    Args:
        annuli: the rings and their shares.
    """

    kind: ClassVar[str] = "annuli"

    annuli: AnnuliSettings

    def rings(self) -> tuple[str, ...]:
        """Their names: from where to where."""
        return tuple(f"{low:g}-{high:g} deg" for low, high in pairwise(self.annuli.edges_deg))

    def shape_uses(self, where: str) -> Iterator[Use]:
        if isinstance(self.annuli.shares, str):
            yield Use(self.annuli.shares, f"{where}, annuli shares", self.rings(), shares=True)

    def fluxes(self, norm: jax.Array, theta: Parameters) -> list[jax.Array]:
        if not isinstance(self.annuli.shares, str):
            return []
        shares = self._shares({}, theta)
        return [norm * shares[ring] for ring in range(len(self.rings()))]

    def shape(self, setting: Setting) -> Function:
        pixels, distance = setting.pixels, self._distances(setting)
        counts = not (setting.point_sources or setting.as_is)
        factor = per_intensity(setting, counts)
        keys = []
        for ring, (low, high) in zip(self.rings(), pairwise(self.annuli.edges_deg), strict=True):
            values = ((distance >= low) & (distance < high)).astype(np.float64)
            values = values if factor is None else values * setting.arrays[factor]
            mean = values[: pixels.n_region].mean()
            if not mean > 0:
                raise InputError(
                    f"template 'annuli': no pixel of the region of interest lies {ring} from the centre; change the "
                    "edges"
                )
            centre = f"{self.annuli.centre_lon!r},{self.annuli.centre_lat!r}"
            keys.append(setting.store(f"annulus:{low!r}:{high!r}:{centre}:{counts}", values / mean))
        return Function(tuple(keys), self._shares)

    def _shares(self, arrays: Arrays, theta: Parameters) -> jax.Array:
        del arrays
        given = self.annuli.shares
        if not isinstance(given, str):
            return jnp.asarray(given) / sum(given)
        return theta[given] if theta[given].ndim else jnp.stack([theta[given], 1.0 - theta[given]])

    def _distances(self, setting: Setting) -> NDArray[np.float64]:
        """Angles [deg] (N,) from the centre."""
        places = ((setting.pixels.lon_deg, setting.pixels.lat_deg), (self.annuli.centre_lon, self.annuli.centre_lat))
        (lon, lat), (lon_c, lat_c) = (tuple(np.deg2rad(angle) for angle in place) for place in places)
        half = np.sin(0.5 * (lat - lat_c)) ** 2 + np.cos(lat) * np.cos(lat_c) * np.sin(0.5 * (lon - lon_c)) ** 2
        return np.asarray(np.rad2deg(2.0 * np.arcsin(np.sqrt(np.minimum(half, 1.0)))))
