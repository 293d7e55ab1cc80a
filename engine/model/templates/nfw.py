"""The generalised-NFW density squared along the line of sight: smooth dark-matter annihilation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from gammasky.engine.citation import Citation
from gammasky.engine.kernels.profiles.geometry import NFWSky
from gammasky.engine.kernels.profiles.op import nfw_squared
from gammasky.engine.model.templates.base import TEMPLATES
from gammasky.engine.model.templates.line_integral import Integral, LineIntegral
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema


class NfwSettings(Schema):
    """A generalised NFW density, squared and integrated along the line of sight.

    Args:
        gamma: inner slope of the density, r^-gamma at the centre.
        scale_radius_kpc [kpc]: radius at which the density goes over to r^-3.
        sun_kpc [kpc]: distance of the Sun from the Galactic Centre.
    """

    gamma: Value
    scale_radius_kpc: Annotated[float, Field(gt=0)] = 20.0
    sun_kpc: Annotated[float, Field(gt=0)] = 8.224


@TEMPLATES.add
class NfwTemplate(LineIntegral):
    """The NFW^2 template: smooth emission of dark-matter annihilation.

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

    def shape_uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, nfw gamma", self.nfw.gamma)

    def integral(self, setting: Setting) -> tuple[NFWSky, Integral]:
        nfw, backend = self.nfw, setting.backend
        sky = setting.geometry(NFWSky, sun_kpc=nfw.sun_kpc, scale_radius_kpc=nfw.scale_radius_kpc)
        return sky, lambda theta, over: nfw_squared(value_of(nfw.gamma, theta), sky, over=over, backend=backend)
