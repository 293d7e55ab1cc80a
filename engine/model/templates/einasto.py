"""The Einasto density squared along the line of sight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import jax

from gammasky.engine.citation import Citation
from gammasky.engine.kernels.spheroid.op import log_einasto_squared
from gammasky.engine.model.templates.base import TEMPLATES
from gammasky.engine.model.templates.spheroid import Spheroid, SpheroidSettings
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of


class EinastoSettings(SpheroidSettings):
    """An Einasto density exp(-(2 / alpha) ((r / r_s)^alpha - 1)), squared and integrated along the line of sight.

    Args:
        alpha: how fast the slope of the density changes with the radius: it is -2 (r / r_s)^alpha.
    """

    alpha: Value


@TEMPLATES.add
class EinastoTemplate(Spheroid):
    """The Einasto template: dark-matter annihilation in a halo without a power law at its centre.

    Args:
        einasto: the numbers of the profile.
    """

    kind: ClassVar[str] = "einasto"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "the Einasto profile of dark matter",
            r"""
            @article{Navarro2004,
              author        = {Navarro, Julio F. and others},
              title         = {The inner structure of {$\Lambda$CDM} haloes - {III}. Universality and asymptotic slopes},
              journal       = {Monthly Notices of the Royal Astronomical Society},
              volume        = {349},
              pages         = {1039},
              year          = {2004},
              eprint        = {astro-ph/0311231},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
    )

    einasto: EinastoSettings

    @property
    def settings(self) -> EinastoSettings:
        return self.einasto

    def shape_uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, einasto alpha", self.einasto.alpha, least=0.05, most=1.0, what="alpha")
        yield from self.einasto.uses(f"{where}, einasto")

    def log_emissivity(self, radius: jax.Array, scale_radius_kpc: jax.Array, theta: Parameters) -> jax.Array:
        return log_einasto_squared(radius, value_of(self.einasto.alpha, theta), scale_radius_kpc)
