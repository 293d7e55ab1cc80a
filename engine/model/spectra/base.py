"""What every photon spectrum is: a description in a model file that becomes the share of the photons in each bin."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny

from gammasky.engine.citation import Citation
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.schema import Schema

Edges = NDArray[np.float64]


class Spectrum(Schema):
    """Base of all photon spectra dN/dE; `kind` is the key that tells it in a model file.

    Only the shape counts: how bright a component is, its norm says.
    """

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()

    @abstractmethod
    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it."""

    @abstractmethod
    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        """The share of the photon flux in each bin (E,), int dN/dE dE over that of all bins; they add up to 1.

        Args:
            theta: the parameters.
            edges_gev (E + 1,) [GeV]: edges of the bins.
        """

    def require_bins(self, where: str, edges_gev: Edges) -> None:
        """Refuse bins that it says nothing of.

        Raises:
            InputError: says `where` and which bin.
        """
        del where, edges_gev


SPECTRA: Registry[type[Spectrum]] = Registry("spectrum")


def _as_spectrum(value: Any) -> Any:
    """The spectrum that a table describes, by the key that it has."""
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"a spectrum is a table with one of {SPECTRA.words()}")
    return SPECTRA.named(next(iter(value))).model_validate(value)


AnySpectrum = Annotated[SerializeAsAny[Spectrum], BeforeValidator(_as_spectrum)]
