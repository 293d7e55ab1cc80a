"""What every luminosity function is: a description in a model file that becomes dN/dL of the sources."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Self

import jax
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from gammasky.engine.citation import Citation
from gammasky.engine.model.priors import PriorKind
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.schema import Schema

LEAST = 1.0  # of a luminosity [s^-1]; what matters is that it is positive


class Luminosity(Schema):
    """Base of all luminosity functions; the keys of its table in a model file tell which one it is.

    Luminosities are photons s^-1, emitted into all directions, in the energy band of the data set. The density of the
    sources in space is that of the component's template; it is cut into shells by distance from the Sun.

    Args:
        shells: how many distances stand for all; 1 takes every source to be equally far.
        near_kpc [kpc]: no source is closer to the Sun.
        far_kpc [kpc]: no source is farther from the Sun.
        threshold_cm2_s [cm^-2 s^-1]: photon flux in the band above which a catalogue has a source: the expected number
            of brighter ones is among the results. Without it, the threshold that the data set states, if any.
    """

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()

    shells: Annotated[int, Field(ge=1, le=64)] = 12
    near_kpc: Annotated[float, Field(gt=0, le=100)] = 0.1
    far_kpc: Annotated[float, Field(gt=0, le=100)] = 50.0
    threshold_cm2_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _distances(self) -> Self:
        if self.near_kpc >= self.far_kpc:
            raise ValueError(
                f"shells: near_kpc must be below far_kpc, got near_kpc={self.near_kpc:g}, far_kpc={self.far_kpc:g}"
            )
        return self

    @abstractmethod
    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it."""

    @abstractmethod
    def log_density(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        """log of the share of sources per luminosity [s], at luminosities (..., S) [s^-1] in equal steps of log L along
        the last axis; the shares add up to 1."""

    @abstractmethod
    def mean(self, theta: Parameters) -> jax.Array:
        """Mean luminosity of a source [s^-1]."""

    @abstractmethod
    def above(self, theta: Parameters, luminosity: jax.Array) -> jax.Array:
        """The share of sources that are brighter than luminosities (...) [s^-1]."""

    def require_priors(self, where: str, priors: Mapping[str, PriorKind]) -> None:
        """Refuse priors that allow what makes no sense.

        Raises:
            InputError: names the component and the number.
        """
        del where, priors

    def require_point(self, where: str, theta: Parameters) -> None:
        """Refuse a parameter point that makes no sense.

        Raises:
            InputError: names the component and the numbers.
        """
        del where, theta


LUMINOSITIES: Registry[type[Luminosity]] = Registry("luminosity function")

AnyLuminosity = Annotated[SerializeAsAny[Luminosity], BeforeValidator(LUMINOSITIES.of_keys)]
