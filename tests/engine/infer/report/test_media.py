"""The page on a dark screen, in print and on a phone."""

from __future__ import annotations

import re

import pytest
from matplotlib.colors import to_rgb

from gammasky.engine.infer.report.html import PHONE, Cell, Table, rendered

PAGES = "gammasky.engine.infer.report"
STYLES = str(rendered("page.css", PAGES))


def rules(medium: str) -> str:
    """What the style sheet says for a medium, its blocks one after the other."""
    blocks = re.findall(r"@media ([^{]+) \{(.*?)^\}", STYLES, re.DOTALL | re.MULTILINE)
    found = [block for media, block in blocks if medium in media.split(", ")]
    assert found, medium
    return "".join(found)


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("screen", ["light", "dark"])
def test_text_stands_out_from_its_page(screen: str) -> None:
    colours = variables(STYLES.split("@media")[0])
    if screen == "dark":
        dark = variables(rules("screen and (prefers-color-scheme: dark)"))
        assert set(dark) == set(colours)
        colours = dark
    paper = luminance(colours["paper"])
    for name in ("ink", "soft", "blue", "orange", "green", "amber", "red"):
        low, high = sorted([paper, luminance(colours[name])])
        assert (high + 0.05) / (low + 0.05) > 4.5, name  # WCAG 2.1, level AA


def test_paper_is_light_whatever_the_screen() -> None:
    media = re.findall(r"@media ([^{]+) \{", STYLES)
    assert [m for m in media if "dark" in m and not m.startswith("screen and ")] == []
    assert "color-scheme: light" in rules("print")


def test_in_print_nothing_is_cut_or_folded_away() -> None:
    printed = rules("print")
    for rule in (
        ".scroll, pre { overflow: visible; max-height: none;",
        "pre { white-space: pre-wrap;",
        "figure, tr, .verdict, .headline { break-inside: avoid; }",
        "h2, caption, summary { break-after: avoid; }",
        "details::details-content { content-visibility: visible;",
        'content: " (" attr(href) ")"',
    ):
        assert rule in printed, rule


def table(heading: str, text: str) -> Table:
    return Table(["name", heading], [[Cell("flux (smooth)", "counts per pixel and more"), text]])


def test_a_table_too_wide_for_a_phone_is_stacked_there() -> None:
    beside = PHONE - len("(smooth)") - 4  # words and headings break, notes have their own lines, numbers stay whole
    assert not table("68 % of all that there is", "1" * beside).stacked
    assert not table("68 %", "1" * beside).stacked
    assert table("68 %", "1" * (beside + 1)).stacked
    assert table("68 %", "1 " * beside).stacked
    assert not Table([], []).stacked


def test_a_stacked_table_tells_each_number_by_its_heading() -> None:
    wide = rendered("diagnostics.html", PAGES, tables=[table("<68 %>", "1" * PHONE)], picture=None)
    assert '<table class="stacked">' in wide
    assert f'<td class="n" data-heading="&lt;68 %&gt;">{"1" * PHONE}</td>' in wide
    narrow = rendered("diagnostics.html", PAGES, tables=[table("68 %", "1")], picture=None)
    assert "stacked" not in narrow
    assert "data-heading" not in narrow
    assert ".stacked td::before { content: attr(data-heading);" in rules("screen and (max-width: 40rem)")
