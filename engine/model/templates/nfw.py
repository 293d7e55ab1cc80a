"""The generalised-NFW density squared along the line of sight: smooth dark-matter annihilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import jax

from gammasky.engine.citation import Citation
from gammasky.engine.kernels.profiles.geometry import NFWSky, Normalisation
from gammasky.engine.kernels.profiles.op import nfw_squared
from gammasky.engine.kernels.spheroid.op import log_nfw_squared
from gammasky.engine.model.templates.base import TEMPLATES, Profile
from gammasky.engine.model.templates.function import Evaluate
from gammasky.engine.model.templates.line_integral import Integral, LineIntegral
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.templates.spheroid import Spheroid, SpheroidSettings
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of


class NfwSettings(SpheroidSettings):
    """A generalised NFW density, squared and integrated along the line of sight; round, or a spheroid.

    Args:
        gamma: inner slope of the density, r^-gamma at the centre.
    """

    gamma: Value


@TEMPLATES.add
class NfwTemplate(LineIntegral, Spheroid):
    """The NFW^2 template: smooth emission of dark-matter annihilation.

    A sphere at the Galactic Centre of a fixed scale radius has a kernel of its own, which is faster.

    Args:
        nfw: the numbers of the profile.
    """

    kind: ClassVar[str] = "nfw"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "the NFW profile",
            r"""
            @article{Navarro1997,
              author        = {Navarro, Julio F. and Frenk, Carlos S. and White, Simon D. M.},
              title         = {A Universal Density Profile from Hierarchical Clustering},
              journal       = {The Astrophysical Journal},
              volume        = {490},
              pages         = {493},
              year          = {1997},
              eprint        = {astro-ph/9611107},
              archivePrefix = {arXiv}
            }
            """,
        ),
    )

    nfw: NfwSettings

    @property
    def settings(self) -> NfwSettings:
        return self.nfw

    def shape_uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, nfw gamma", self.nfw.gamma)
        yield from self.nfw.uses(f"{where}, nfw")

    def log_emissivity(self, radius: jax.Array, scale_radius_kpc: jax.Array, theta: Parameters) -> jax.Array:
        return log_nfw_squared(radius, value_of(self.nfw.gamma, theta), scale_radius_kpc)

    def integral(self, setting: Setting) -> tuple[NFWSky, Integral]:
        nfw, backend = self.nfw, setting.backend
        sky = setting.geometry(NFWSky, sun_kpc=nfw.sun_kpc, scale_radius_kpc=nfw.scale_radius_kpc)

        def integral(theta: Parameters, over: Normalisation | None, times: jax.Array | float) -> jax.Array:
            return nfw_squared(value_of(nfw.gamma, theta), sky, over=over, times=times, backend=backend)

        return sky, integral

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        kind = LineIntegral if self.nfw.is_round else Spheroid
        return kind.intensity(self, setting)

    def normalised(self, setting: Setting, exposure: str | None) -> Evaluate:
        kind = LineIntegral if self.nfw.is_round else Profile
        return kind.normalised(self, setting, exposure)
