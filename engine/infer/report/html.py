"""HTML pages from templates, which escape all text that enters them: a name from a file can never become markup."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gammasky.engine.errors import InputError

PHONE = 52  # characters that fit beside each other on a phone, in a table
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, a note in small print after it, and the element around the text, if any."""

    text: str
    note: str = ""
    element: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        headings: of the columns.
        rows: of cells; plain text is a cell without a note.
        caption: what the table shows.
        words: that many columns at the left hold words, the others numbers.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    words: int = 1

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, of cells throughout."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]

    @property
    def stacked(self) -> bool:
        """Whether the columns do not fit beside each other on a phone, which then shows them below each other.

        Headings and columns of words may break between words, numbers and their intervals may not.
        """
        columns = enumerate(zip(self.headings, *self.cells, strict=False))
        return sum(2 + self._width(number, *column) for number, column in columns) > PHONE

    def _width(self, column: int, heading: str, *cells: Cell) -> int:
        """Characters that a column needs at least; notes have lines of their own."""
        texts = [cell.text for cell in cells]
        whole = texts if column >= self.words else " ".join(texts).split()
        return max(map(len, [*heading.split(), *whole]), default=0)


@dataclass(frozen=True)
class Picture:
    """A PNG as part of a page; a wide one scrolls on a narrow screen rather than shrink until nobody can read it."""

    source: str
    width: int
    height: int
    alt: str
    caption: str
    wide: bool


def picture(png: bytes, alt: str, caption: str, where: str, *, wide: bool = False) -> Picture:
    """Make a picture of the bytes of a PNG file.

    Raises:
        InputError: no PNG; names `where` it is.
    """
    if png[:8] != PNG or len(png) < 24:
        raise InputError(f"{where}: not a PNG image, or damaged; remove it or run the fit again")
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    return Picture(source, width, height, alt, caption, wide)


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        identity: which links to it name, and its template: `<identity>.html` unless `template` names another.
        title: its heading.
        values: what the template shows.
        label: of the link to it at the top; "" for none.
        package: which holds the template; "" for that of the page.
    """

    identity: str
    title: str
    values: dict[str, Any]
    label: str = ""
    template: str = ""
    package: str = ""


@dataclass(frozen=True)
class Head:
    """What stands above the sections of a page.

    Attributes:
        title: of the window.
        name, kind: the heading, and in small print what it is the name of.
        facts: short ones, in one line; description: a paragraph.
        link: to the report of the members; "" for none.
        verdict: its level, sign, meaning, reasons and remedy; None for none.
    """

    title: str
    name: str
    kind: str
    facts: Sequence[str]
    description: str = ""
    link: str = ""
    verdict: dict[str, Any] | None = None


def rendered(template: str, package: str, **values: Any) -> Markup:
    """Fill in a template of a package, or one of those here, which all pages share."""
    return Markup(_environment(package).get_template(template).render(values))


def page(package: str, generator: str, head: Head, sections: Sequence[Section | None]) -> str:
    """Make a whole page: styles and images are in it, and there is no script.

    Args:
        package: whose folder `templates` holds those of the sections.
        generator: the command that makes such pages, and its version.
        head: what stands above the sections.
        sections: in order; None for one without content.
    """
    contents = [
        (it, rendered(it.template or f"{it.identity}.html", it.package or package, **it.values))
        for it in sections
        if it is not None
    ]
    return str(rendered("page.html", package, generator=generator, head=head, contents=contents))


def require_own(path: Path, generator: str, remedy: str = "choose another folder") -> None:
    """Refuse to replace a file that is no page of the same command: a folder may hold something else, too.

    Args:
        path: where a page is to be.
        generator: the command, without its version.
        remedy: what to do where another file is.

    Raises:
        InputError: another file is there.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        own = f'name="generator" content="{generator} '.encode() in file.read(1000)
    if not own:
        raise InputError(f"{path}: is no page of '{generator}', which would replace it; {remedy}")


@cache
def _environment(package: str) -> Environment:
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, __package__))]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = lambda name: escape(name).replace("[", Markup("<wbr>["))
    return environment
