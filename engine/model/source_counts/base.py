"""What every source-count function is: a description in a model file that becomes dN/dS on the grid of S."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple, Self

import jax
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, SerializeAsAny

from gammasky.engine.citation import Citation
from gammasky.engine.model.priors import PriorKind
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema


class Limits(NamedTuple):
    """The ends of the grid that source-count functions live on, and their unit."""

    low: float
    high: float
    unit: str = "counts"


class SourceCounts(Schema):
    """Base of all source-count functions; the keys of its table in a model file tell which one it is."""

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()
    #: whether `shape` is dN/dS itself where the component has no norm, rather than relative to an amplitude
    absolute: ClassVar[bool] = False

    @abstractmethod
    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it."""

    @abstractmethod
    def shape(self, theta: Parameters, s: jax.Array, tables: Arrays) -> jax.Array:
        """dN/dS (S,) at s (S,) [counts], in the unit that `absolute` says; `tables` as this class has made them."""

    @classmethod
    def shapes(
        cls, several: Sequence[Self], theta: Parameters, s: jax.Array, tables: Sequence[Arrays]
    ) -> list[jax.Array]:
        """`shape` of several of this class."""
        return [one.shape(theta, s, own) for one, own in zip(several, tables, strict=True)]

    def tables(self, s: ArrayLike) -> Arrays:
        """Fixed numbers that `shape` needs, for s (S,) [counts]."""
        del s
        return {}

    def require_priors(self, where: str, priors: Mapping[str, PriorKind], limits: Limits) -> None:
        """Refuse priors that allow what makes no sense on a grid of S with these limits.

        Raises:
            InputError: names the component and the number.
        """
        del where, priors, limits

    def require_point(self, where: str, theta: Parameters) -> None:
        """Refuse a parameter point that makes no sense.

        Raises:
            InputError: names the component and the numbers.
        """
        del where, theta


SOURCE_COUNTS: Registry[type[SourceCounts]] = Registry("source-count function")

AnySourceCounts = Annotated[SerializeAsAny[SourceCounts], BeforeValidator(SOURCE_COUNTS.of_keys)]
