"""The log-normal luminosity function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc

from gammasky.engine.citation import Citation
from gammasky.engine.model.luminosity.base import LEAST, LUMINOSITIES, Luminosity
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of

NARROWEST_DEX = 0.05  # what a source grid of some hundred nodes resolves


@LUMINOSITIES.add
class LogNormalLuminosity(Luminosity):
    """Log-normal dN/dL: log10 L is normal about that of the median.

        dN/dL ~ exp(-(log10(L / L_0))^2 / (2 sigma^2)) / L

    Args:
        median [s^-1]: L_0, photons in the band.
        sigma_dex [dex]: standard deviation of log10 L.
    """

    kind: ClassVar[str] = "log-normal"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "the log-normal luminosity function of millisecond pulsars",
            r"""
            @article{Ploeg2020,
              author        = {Ploeg, Harrison and Gordon, Chris and Crocker, Roland and Macias, Oscar},
              title         = {Comparing the {Galactic} Bulge and {Galactic} Disk Millisecond Pulsars},
              journal       = {Journal of Cosmology and Astroparticle Physics},
              volume        = {12},
              pages         = {035},
              year          = {2020},
              eprint        = {2008.10821},
              archivePrefix = {arXiv}
            }
            """,
        ),
    )

    median: Value
    sigma_dex: Value

    def uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, luminosity median", self.median, least=LEAST, what="a median luminosity [s^-1]")
        yield from uses_of(
            f"{where}, luminosity sigma_dex", self.sigma_dex, least=NARROWEST_DEX, most=10.0, what="a width sigma_dex"
        )

    def log_density(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        width = value_of(self.sigma_dex, theta) * math.log(10.0)
        place = (jnp.log(luminosity) - jnp.log(value_of(self.median, theta))) / width
        return -0.5 * place**2 - jnp.log(width * math.sqrt(2.0 * math.pi)) - jnp.log(luminosity)

    def mean(self, theta: Parameters) -> jax.Array:
        width = value_of(self.sigma_dex, theta) * math.log(10.0)
        return value_of(self.median, theta) * jnp.exp(0.5 * width**2)

    def above(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        width = value_of(self.sigma_dex, theta) * math.log(10.0)
        place = (jnp.log(luminosity) - jnp.log(value_of(self.median, theta))) / width
        return 0.5 * erfc(place / math.sqrt(2.0))
