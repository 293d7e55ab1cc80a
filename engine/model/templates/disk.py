"""The Lorimer disk of sources along the line of sight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from pydantic import Field

from gammasky.engine.citation import Citation
from gammasky.engine.kernels.profiles.geometry import DiskSky, Normalisation
from gammasky.engine.kernels.profiles.op import lorimer_disk
from gammasky.engine.model.templates.base import TEMPLATES
from gammasky.engine.model.templates.in_space import InSpace, Position, Symmetry
from gammasky.engine.model.templates.line_integral import Integral, LineIntegral
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema


class DiskSettings(Schema):
    """Lorimer disk: (R/R0)^B exp(-C (R - R0)/R0) exp(-|z|/z_s) along the line of sight, R0 the Sun's distance.

    Args:
        scale_height [kpc]: z_s, above and below the plane.
        C: how steeply the density falls with the distance R from the Galactic Centre.
        B: power of R with which it rises close to the centre.
        sun_kpc [kpc]: distance R0 of the Sun from the Galactic Centre.
    """

    scale_height: Value
    C: Value
    B: Value = 0.0
    sun_kpc: Annotated[float, Field(gt=0)] = 8.224


@TEMPLATES.add
class DiskTemplate(LineIntegral, InSpace):
    """The Lorimer disk template: sources in the Galactic disk.

    Args:
        disk: the numbers of the profile.
    """

    kind: ClassVar[str] = "disk"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "the disk profile",
            r"""
            @article{Lorimer2006,
              author        = {Lorimer, D. R. and others},
              title         = {The {Parkes} {Multibeam} {Pulsar} {Survey}: {VI}. Discovery and timing of 142 pulsars and a {Galactic} population analysis},
              journal       = {Monthly Notices of the Royal Astronomical Society},
              volume        = {372},
              pages         = {777},
              year          = {2006},
              eprint        = {astro-ph/0607640},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
    )

    disk: DiskSettings

    def shape_uses(self, where: str) -> Iterator[Use]:
        for name in ("scale_height", "C", "B"):
            yield from uses_of(f"{where}, disk {name}", getattr(self.disk, name))

    def integral(self, setting: Setting) -> tuple[DiskSky, Integral]:
        disk, backend = self.disk, setting.backend
        sky = setting.geometry(DiskSky, sun_kpc=disk.sun_kpc)

        def integral(theta: Parameters, over: Normalisation | None, times: jax.Array | float) -> jax.Array:
            return lorimer_disk(*self._numbers(theta), sky, over=over, times=times, backend=backend)

        return sky, integral

    def _numbers(self, theta: Parameters) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Scale height, C and B."""
        disk = self.disk
        return value_of(disk.scale_height, theta), value_of(disk.C, theta), value_of(disk.B, theta)

    @property
    def centre_kpc(self) -> float:
        return self.disk.sun_kpc

    @property
    def symmetry(self) -> Symmetry:
        return "quarters"

    def density(self, theta: Parameters, place: Position) -> jax.Array:
        scale_height, C, B = self._numbers(theta)
        ratio = jnp.hypot(place.x - self.disk.sun_kpc, place.y) / self.disk.sun_kpc
        log_density = -C * (ratio - 1.0) - jnp.abs(place.z) / scale_height
        if self.disk.B != 0.0:
            log_density = log_density + B * jnp.log(ratio)
        return jnp.exp(log_density)

    def volume(self, theta: Parameters) -> jax.Array:
        """4 pi z_s R0^2 exp(C) Gamma(B + 2) / C^(B + 2)."""
        scale_height, C, B = self._numbers(theta)
        of_radius = jnp.exp(C + gammaln(B + 2.0) - (B + 2.0) * jnp.log(C))
        return 4.0 * jnp.pi * scale_height * self.disk.sun_kpc**2 * of_radius
