"""What every term of the log-likelihood is: a description that, built for an expectation, becomes a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import jax
from pydantic import BeforeValidator, SerializeAsAny

from gammasky.engine.citation import Citation
from gammasky.engine.model.expected_sky import Sky
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema


class Term(ABC):
    """One term of the log-likelihood of a model, built for its pixels.

    Attributes:
        name: for messages.
        arrays: its fixed numbers, which compiled programs take as an argument.
        citations: the works behind it.
    """

    citations: ClassVar[tuple[Citation, ...]] = ()

    name: str
    arrays: Arrays

    @abstractmethod
    def log_density(self, sky: Sky, theta: Parameters, arrays: Arrays) -> jax.Array:
        """The log-likelihood of this term, a scalar.

        Args:
            sky: what the model expects at `theta`.
            theta: the parameters.
            arrays: `self.arrays`, or others of the same structure.
        """

    @abstractmethod
    def explain(self, sky: Sky, theta: Parameters) -> str | None:
        """Why the term is not finite at these parameters, in one clause; None where it is finite."""


class TermKind(Schema):
    """Base of the descriptions of further terms in a model file: `terms = [{ term = "...", ... }]`.

    Args:
        term: the word for its kind.
    """

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()

    term: str

    @abstractmethod
    def uses(self) -> Iterator[Use]:
        """Every place of a parameter in it."""

    @abstractmethod
    def build(self, expectation: Any) -> Term:
        """The term for the pixels and components of an `Expectation` (whose type descriptions know nothing of).

        Raises:
            InputError: it does not fit the model.
        """


TERMS: Registry[type[TermKind]] = Registry("term")
AnyTerm = Annotated[SerializeAsAny[TermKind], BeforeValidator(TERMS.described)]
