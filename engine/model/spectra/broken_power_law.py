"""The broken power law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.spectra.integrals import log_mean_of_power_law
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema

LEAST_GEV = 1e-6  # of a break


class BrokenSettings(Schema):
    """dN/dE ~ (E / break)^-index_below up to the break, and (E / break)^-index_above from there on.

    Args:
        index_below, index_above: slopes on the two sides.
        break_gev [GeV]: energy of the break.
    """

    index_below: Value
    index_above: Value
    break_gev: Value

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if isinstance(self.break_gev, float) and self.break_gev < LEAST_GEV:
            raise ValueError(f"break_gev must be at least {LEAST_GEV:g}, got {self.break_gev:g}")
        return self


@SPECTRA.add
class BrokenSpectrum(Spectrum):
    """The broken power law, each side of the break integrated in closed form.

    Args:
        broken_power_law: its numbers.
    """

    kind: ClassVar[str] = "broken_power_law"

    broken_power_law: BrokenSettings

    def uses(self, where: str) -> Iterator[Use]:
        settings, place = self.broken_power_law, f"{where}, broken_power_law"
        yield from uses_of(f"{place} index_below", settings.index_below)
        yield from uses_of(f"{place} index_above", settings.index_above)
        yield from uses_of(f"{place} break_gev", settings.break_gev, least=LEAST_GEV, what="break_gev")

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        settings = self.broken_power_law
        edges = np.log(edges_gev) - jnp.log(value_of(settings.break_gev, theta))
        below, above = jnp.minimum(edges, 0.0), jnp.maximum(edges, 0.0)
        means = jnp.stack(
            [
                log_mean_of_power_law(value_of(index, theta), side[:-1], side[1:])
                for index, side in ((settings.index_below, below), (settings.index_above, above))
            ]
        )
        widths = jnp.stack([jnp.diff(below), jnp.diff(above)])  # zero on the side where a bin does not reach
        largest = jax.lax.stop_gradient(jnp.max(jnp.where(widths > 0, means, -jnp.inf)))
        photons = jnp.sum(widths * jnp.exp(jnp.where(widths > 0, means - largest, 0.0)), axis=0)
        return photons / jnp.sum(photons)
