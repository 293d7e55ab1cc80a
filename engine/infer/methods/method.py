"""What a method is: its settings, what does its work, how much work that is, its verdict and what to cite for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.verdict import Verdict


class Method(ABC):
    """A way to a posterior.

    Importing its file must be quick, since the command line shows its settings: what `verdict` and `cited` need is
    imported there.

    Attributes:
        name: as users choose it.
        summary: what it is good for, in a few words.
        work: "MODULE:CLASS" of the `Stage` that does the work, imported when it begins.
        options: its settings, by name.
        verdict: the rule by which its `Stage` judges what it has found. Its arguments are what this method rests on;
            `engine.infer.verdict` has the rules that methods share.
        citations: the works behind it, whatever its settings; see `cited`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    work: ClassVar[str]
    options: ClassVar[Mapping[str, Option]] = {}
    verdict: ClassVar[Callable[..., Verdict]]
    citations: ClassVar[tuple[Citation, ...]] = ()

    @classmethod
    def stage(cls, options: Mapping[str, Any]) -> Any:
        """Import and return the `Stage` that does the work, with these settings."""
        del options
        return class_at(cls.work)

    @staticmethod
    def resolve(options: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in the values that follow from others: in, and out, are all options, given or default.

        Raises:
            InputError: options that exclude each other.
        """
        return dict(options)

    @classmethod
    def cited(cls, options: Mapping[str, Any]) -> tuple[Citation, ...]:
        """The works behind a fit with these settings, all of them given."""
        del options
        return cls.citations

    @staticmethod
    @abstractmethod
    def gradients(options: Mapping[str, Any]) -> int:
        """About how many gradients of the density it asks for, once the best point is known."""


def class_at(place: str) -> Any:
    """Import the class at "MODULE:CLASS"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
