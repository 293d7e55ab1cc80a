"""Section about errors that are honest about pixels that share sources, where a fit was adjusted to that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.headline import INTERVALS
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.numbers import described, number


def honest(fit: FitFolder) -> Section | None:
    """How the draws were adjusted, and by which factor the error of each number differs; None where they were not."""
    found = fit.summary.get("honest")
    if not found:
        return None
    try:
        main = [name for name in fit.summary.get("main_parameters", []) if name in found["parameters"]]
        others = [name for name in found["parameters"] if name not in main]
        rows = [_row(name, found["parameters"][name]) for name in main]
        rows += [_row(f"PS fraction ({group})", row) for group, row in found[POINT_SOURCE_FRACTION].items()]
        rows += [_row(name, found["parameters"][name]) for name in others]
        values = {
            "table": Table(["parameter", "sd adjusted / plain", *INTERVALS], rows, "Adjusted posterior"),
            "reason": str(found["reason"]),
            "skies": number(int(found["skies"])),
            "noise": f"{100 * float(found['noise']):.1f}",
            "shift": f"{found['shift']['of']} by {found['shift']['sd']:+.2f} ± {found['shift']['error']:.2f}",
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        path = fit.folder / "summary.json"
        raise InputError(f"{path}: damaged entry 'honest'; run `gammasky honest {fit.folder}` again") from None
    return Section("honest", "Errors, honest about pixels that share sources", values, "Honest errors")


def _row(name: str, entry: Mapping[str, Any]) -> list[Cell | str]:
    factor, unit = float(entry["factor"]), str(entry.get("unit", ""))
    return [
        Cell(name, "" if unit == "1" else unit),
        Cell(f"{factor:.2f}", element="strong" if abs(factor - 1) > 0.1 else ""),
        *described(entry),
    ]
