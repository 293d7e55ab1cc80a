"""HTML from Python calls: text is escaped wherever it enters, so a name from a file can never become markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from gammasky.engine.errors import InputError

VOID = frozenset({"img", "wbr"})  # written without a closing tag
PNG = b"\x89PNG\r\n\x1a\n"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | float | None


def tag(element: str, *children: Child, **attributes: Child) -> Markup:
    """An element; children that are no `Markup` are escaped, None among children and attributes is left out.

    Args:
        element: its name.
        children: text and elements.
        attributes: a trailing underscore is dropped and others become hyphens: `class_`, `aria_label`.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = element + "".join(f' {name}="{escape(str(value))}"' for name, value in given.items())
    if element in VOID:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{joined(children)}</{element}>")


def joined(children: Iterable[Child], separator: str = "") -> Markup:
    """Children one after the other."""
    return Markup(separator.join(_escaped(child) for child in children if child is not None))


def _escaped(child: Markup | str | float) -> str:
    return str(child) if isinstance(child, Markup) else escape(str(child))


def table(headings: Sequence[Child], rows: Iterable[Sequence[Child]], *, words: int = 1, caption: str = "") -> Markup:
    """A table that scrolls inside itself where it is too wide.

    Args:
        headings: of the columns.
        rows: cells.
        words: that many columns at the left hold words, the others numbers.
        caption: what it shows.
    """

    def cell(kind: str, column: int, content: Child) -> Markup:
        return tag(kind, content, class_=None if column < words else "n", scope="col" if kind == "th" else None)

    head = tag("tr", *(cell("th", column, text) for column, text in enumerate(headings)))
    body = [tag("tr", *(cell("td", column, text) for column, text in enumerate(row))) for row in rows]
    title = tag("caption", caption) if caption else None
    return scrolling(tag("table", title, tag("thead", head), tag("tbody", *body)), caption or "table")


def scrolling(content: Markup, label: str) -> Markup:
    """A box that scrolls sideways, by keyboard too."""
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def picture(png: bytes, alt: str, caption: Child, where: str, *, wide: bool = False) -> Markup:
    """A PNG as part of the page; a wide one scrolls on a narrow screen rather than shrink until nobody can read it.

    Raises:
        InputError: no PNG.
    """
    if png[:8] != PNG or len(png) < 24:
        raise InputError(f"{where}: not a PNG image, or damaged; remove it or run the fit again")
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    image = tag("img", src=source, alt=alt, width=width, height=height, class_="wide" if wide else None)
    return tag("figure", scrolling(image, alt), tag("figcaption", caption))


def details(title: str, *content: Child) -> Markup:
    """What is folded until somebody asks for it."""
    return tag("details", tag("summary", title), *content)


def section(identity: str, title: str, *content: Child) -> Markup:
    """A section, or nothing where it has no content."""
    if all(child is None or child == "" for child in content):
        return Markup("")
    return tag("section", tag("h2", title), *content, id=identity)
