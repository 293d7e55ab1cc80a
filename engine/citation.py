"""A work to cite, which stands in the file of what it is cited for: a template, a guide, a method, a library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import cleandoc

_EPRINT = re.compile(r"eprint\s*=\s*\{(.*?)\}")


@dataclass(frozen=True)
class Citation:
    """A work to cite.

    Attributes:
        why: what it is cited for.
        bibtex: its entry; the indentation of the code around it goes.
    """

    why: str
    bibtex: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "bibtex", cleandoc(self.bibtex))

    @property
    def key(self) -> str:
        """The key of the entry."""
        return self.bibtex.partition("{")[2].partition(",")[0]

    @property
    def arxiv(self) -> str:
        """Its arXiv identifier; "" where the entry gives none."""
        found = _EPRINT.search(self.bibtex)
        return found.group(1) if found else ""
