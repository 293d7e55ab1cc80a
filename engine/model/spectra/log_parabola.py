"""The log-parabola: a power law whose index changes with the logarithm of the energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp

from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.spectra.integrals import log_integrals
from gammasky.engine.model.spectra.power_law import Energy
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema


class LogParabolaSettings(Schema):
    """dN/dE ~ (E / pivot)^-(index + curvature ln(E / pivot)).

    Args:
        index: slope at the pivot.
        curvature: how fast the slope rises with ln E, halved.
        pivot_gev [GeV]: energy at which the slope is the index.
    """

    index: Value
    curvature: Value
    pivot_gev: Energy = 1.0


@SPECTRA.add
class LogParabola(Spectrum):
    """The log-parabola.

    Args:
        log_parabola: its numbers.
    """

    kind: ClassVar[str] = "log_parabola"

    log_parabola: LogParabolaSettings

    def uses(self, where: str) -> Iterator[Use]:
        yield from uses_of(f"{where}, log_parabola index", self.log_parabola.index)
        yield from uses_of(f"{where}, log_parabola curvature", self.log_parabola.curvature)

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        settings = self.log_parabola
        index, curvature = (value_of(value, theta) for value in (settings.index, settings.curvature))

        def log_spectrum(energy: jax.Array) -> jax.Array:
            x = jnp.log(energy / settings.pivot_gev)
            return -(index + curvature * x) * x

        return jax.nn.softmax(log_integrals(log_spectrum, edges_gev))
