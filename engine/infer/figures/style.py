"""What the figures share: fonts, colours that colour-blind readers can tell apart, saving."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from gammasky.engine.card import as_picture
from gammasky.engine.files import replacing

Line = str | tuple[int, tuple[int, ...]]  # the pattern of a line, as matplotlib takes it

DPI = 150
# Okabe & Ito, https://jfly.uni-koeln.de/color/, without yellow, which is too light for lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# for readers of grey prints, who cannot tell all of the colours apart; "--" is left to truths and limits
LINES: tuple[Line, ...] = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo")
GREY = "#555555"
MASKED = "#D9D9D9"

_SETTINGS: Any = {
    "font.size": 11,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.8,  # long enough to show the pattern of a line
    "xtick.direction": "in",
    "ytick.direction": "in",
    "axes.linewidth": 0.8,
}


def look(number: int) -> dict[str, Any]:
    """Colour and pattern of the line of one curve among several, by its number."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}


def styled() -> AbstractContextManager[None]:
    """Settings of the figures, for as long as the context lasts."""
    return rc_context(_SETTINGS)


def shown(draw: Callable[[], Figure]) -> Figure:
    """A figure in this style, which a notebook shows as a picture."""
    with styled():
        return as_picture(draw())


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.12)
    return path
