"""Writes numbers with as many digits as their uncertainty supports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ABSENT = "–"
MINUS = "−"
QUANTILES = ("q05", "q16", "q50", "q84", "q95")


def decimals(spread: float) -> int:
    """Decimals that show `spread` with two digits."""
    return 3 if not (math.isfinite(spread) and spread > 0) else min(max(1 - math.floor(math.log10(spread)), 0), 12)


def number(value: Any, spread: float | None = None) -> str:
    """A number with digits down to its spread, at most four significant ones without; a dash for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return _signed(f"{value:,d}")
    size = abs(value)
    certain = spread is not None and 0 < spread < 1e-4 * size  # to digits that a power of ten would drop
    if size and (size < 1e-3 or size >= 1e6) and not certain:
        return _power(f"{value:.2e}")
    if spread is not None:
        return _signed(f"{value:,.{decimals(spread)}f}")
    text = f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}" if size else "0"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text)


def interval(low: Any, high: Any, spread: float | None = None) -> str:
    """Two numbers and a dash between; after a minus sign the word "to"."""
    first, last = number(low, spread), number(high, spread)
    return f"{first} to {last}" if MINUS in first + last else f"{first} – {last}"


def width(entry: Mapping[str, Any]) -> float | None:
    """Half the 68 % interval of a summary's entry, or None."""
    low, high = entry.get("q16"), entry.get("q84")
    return 0.5 * (high - low) if isinstance(low, float | int) and isinstance(high, float | int) else None


def described(entry: Mapping[str, Any]) -> list[str]:
    """Median, 68 % and 90 % intervals of a summary's entry; of a number that does not vary, that it is fixed."""
    spread = width(entry)
    if entry.get("q05") is not None and entry.get("q05") == entry.get("q95"):
        return [number(entry["q05"]), "fixed", "fixed"]
    return [
        number(entry.get("q50"), spread),
        interval(entry.get("q16"), entry.get("q84"), spread),
        interval(entry.get("q05"), entry.get("q95"), spread),
    ]


def _power(text: str) -> str:
    """1.23e-09 as 1.23 × 10^-9 with raised digits."""
    digits, _, exponent = text.partition("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return _signed(f"{digits} × 10{raised}")


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
