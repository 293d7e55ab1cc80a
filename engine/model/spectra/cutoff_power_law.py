"""The power law with a cut-off, exponential or sharper or softer: pulsars, and many a blazar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from pydantic import model_validator

from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.spectra.integrals import log_integrals
from gammasky.engine.model.spectra.power_law import Energy
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema

LEAST_GEV = 1e-3  # of a cut-off: far below any bin, where no photon is left to tell


class CutoffSettings(Schema):
    """dN/dE ~ (E / pivot)^-index exp(-(E / cutoff)^exponent).

    Args:
        index: slope far below the cut-off.
        cutoff_gev [GeV]: energy of the cut-off, at least 1 MeV.
        exponent: 1 for an exponential cut-off; above 1 it is sharper, below 1 softer.
        pivot_gev [GeV]: a unit of energy; the shares of the bins do not depend on it.
    """

    index: Value
    cutoff_gev: Value
    exponent: Value = 1.0
    pivot_gev: Energy = 1.0

    @model_validator(mode="after")
    def _positive(self) -> Self:
        for name, least in (("cutoff_gev", LEAST_GEV), ("exponent", 0.0)):
            value = getattr(self, name)
            if isinstance(value, float) and value < least:
                raise ValueError(f"{name} must be at least {least:g}, got {value:g}")
        return self


@SPECTRA.add
class CutoffPowerLaw(Spectrum):
    """The power law with a cut-off.

    Args:
        cutoff_power_law: its numbers.
    """

    kind: ClassVar[str] = "cutoff_power_law"

    cutoff_power_law: CutoffSettings

    def uses(self, where: str) -> Iterator[Use]:
        settings, place = self.cutoff_power_law, f"{where}, cutoff_power_law"
        yield from uses_of(f"{place} index", settings.index)
        for name, value, least in (("cutoff_gev", settings.cutoff_gev, LEAST_GEV), ("exponent", settings.exponent, 0)):
            yield from uses_of(f"{place} {name}", value, least=least, what=name)

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        settings = self.cutoff_power_law
        given = settings.index, settings.cutoff_gev, settings.exponent
        index, cutoff, exponent = (value_of(value, theta) for value in given)

        def log_spectrum(energy: jax.Array) -> jax.Array:
            return -index * jnp.log(energy / settings.pivot_gev) - (energy / cutoff) ** exponent

        return jax.nn.softmax(log_integrals(log_spectrum, edges_gev))
