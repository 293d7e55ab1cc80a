"""The power law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.spectra.integrals import log_mean_of_power_law
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema

Energy = Annotated[float, Field(gt=0)]


class PowerLawSettings(Schema):
    """dN/dE ~ (E / pivot)^-index.

    Args:
        index: slope.
        pivot_gev [GeV]: where dN/dE would be 1; the shares of the bins do not depend on it.
    """

    index: Value
    pivot_gev: Energy = 1.0


@SPECTRA.add
class PowerLaw(Spectrum):
    """The power law, integrated in closed form; an index of 1 is nothing special.

    Args:
        power_law: its numbers.
    """

    kind: ClassVar[str] = "power_law"

    power_law: PowerLawSettings

    def uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, power_law index", self.power_law.index)

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        edges = np.log(edges_gev / self.power_law.pivot_gev)
        index = value_of(self.power_law.index, theta)
        means = log_mean_of_power_law(index, jnp.asarray(edges[:-1]), jnp.asarray(edges[1:]))
        return jax.nn.softmax(means + np.log(np.diff(edges)))
