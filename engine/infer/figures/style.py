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

DPI = 150
# Okabe & Ito, https://jfly.uni-koeln.de/color/, without yellow, which is too light for lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
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
    "xtick.direction": "in",
    "ytick.direction": "in",
    "axes.linewidth": 0.8,
}


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
