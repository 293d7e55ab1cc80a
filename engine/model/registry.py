"""The kinds of one thing that a model file may name: a new kind is one class and one call of `add`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from gammasky.engine.errors import unknown_name

Kind = TypeVar("Kind", bound=type)


class Registry(Generic[Kind]):
    """Classes by the word that stands for them in model files.

    Args:
        what: what they are kinds of, for messages.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.kinds: dict[str, Kind] = {}

    def add(self, kind: Kind) -> Kind:
        """Register a class under its attribute `kind`; usable as a decorator.

        Raises:
            ValueError: the word already stands for another class.
        """
        word = str(kind.kind)  # type: ignore[attr-defined]
        if self.kinds.setdefault(word, kind) is not kind:
            raise ValueError(f"{self.what} '{word}': this word already stands for {self.kinds[word].__qualname__}")
        return kind

    def named(self, word: str) -> Kind:
        """Find the class that a word stands for.

        Raises:
            InputError: unknown word; names the nearest that is known.
        """
        if word not in self.kinds:
            raise unknown_name(self.what, word, self.kinds)
        return self.kinds[word]

    def described(self, table: Any) -> Any:
        """Make what a table describes: its entry `prior`, of priors, names the kind. What is no table stays as it is.

        Raises:
            ValueError: no such entry.
            InputError: it names no kind.
        """
        if not isinstance(table, dict):
            return table
        if self.what not in table:
            known = ", ".join(sorted(self.kinds)) or "none: no kind is known"
            raise ValueError(f"key '{self.what}' is missing; give one of {known}")
        return self.named(str(table[self.what])).model_validate(table)  # type: ignore[attr-defined]

    def of_keys(self, table: Any) -> Any:
        """Make what a table without such an entry describes: the kind most of whose keys it has, the first on a tie.

        What is no table stays as it is.
        """
        if not isinstance(table, dict):
            return table
        kinds: Any = self.kinds.values()
        return max(kinds, key=lambda kind: len(kind.model_fields.keys() & table.keys())).model_validate(table)

    def words(self) -> str:
        """List all words, separated by commas, for messages."""
        return ", ".join(self.kinds)
