"""The page of a study of sensitivity: how strong a signal must be, what was found of each strength, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gammasky.analyses.studies.power import Power
from gammasky.analyses.studies.report import TABLE, question, study_page
from gammasky.analyses.studies.sensitivity import Found
from gammasky.analyses.studies.study import Study
from gammasky.distributed.table import write_csv
from gammasky.engine.files import write_text
from gammasky.engine.infer.figures.style import COLOURS, GREY, LINES, MARKERS, save, styled
from gammasky.engine.infer.report.html import Section, Table, picture
from gammasky.engine.infer.report.numbers import interval, number

FIGURE, THRESHOLDS = "power.png", "thresholds.csv"
SHARES = (0.5, 0.95)  # of the skies, for which the strength is given


def write_sensitivity(study: Study, found: Found, path: Path) -> Path:
    """Write the page of a study of sensitivity at `path`; study.csv, thresholds.csv and power.png beside it.

    Raises:
        OSError: what the file system refused; each file is whole or not there.
    """
    with styled():
        figure = save(drawn(found), path.with_name(FIGURE))
    write_csv(path.with_name(TABLE), _lines(found))
    write_csv(path.with_name(THRESHOLDS), [
        {"sigma": power.sigma, "ts_above": power.ts_above, "share": share,
         **dict(zip(("strength", "low", "high"), power.strength_at(share), strict=True))}
        for power in found.powers for share in SHARES
    ])  # fmt: skip
    shown = picture(figure.read_bytes(), "Power", "Share of skies in which the signal is found; bands: 68 %.", FIGURE)
    values: dict[str, Any] = {
        "thresholds": _thresholds(found),
        "strengths": _strengths(found),
        "picture": shown,
        "shape": ", ".join(f"{name} = {_value(value)}" for name, value in found.shape.items()),
        "at_ends": ", ".join(found.at_ends),
        "data": f"TS = {number(found.data_ts, 0.1)}, p = {number(found.data_p.value)}"
        + ("" if found.data_p.exceeding else ", the smallest that so many skies can give"),
    }
    each = len(next(iter(found.signals.values())))
    facts = f"{len(found.null)} skies of the null, {each} of each of {len(found.signals)} strengths"
    write_text(path, study_page(study, facts, [question(study), Section("power", "What is found", values)]))
    return path


def drawn(found: Found) -> Figure:
    """The share of skies that are found against the strength of the signal, with its band, for each significance."""
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    panel = figure.add_subplot()
    for place, power in enumerate(found.powers):
        colour, pattern = COLOURS[place % len(COLOURS)], LINES[place % len(LINES)]
        panel.fill_between(power.strengths, power.low, power.high, color=colour, alpha=0.2, linewidth=0)
        panel.plot(
            power.strengths, power.share, linestyle=pattern, marker=MARKERS[place % len(MARKERS)], markersize=5,
            color=colour, label=_significance(power), clip_on=False, zorder=3,
        )  # fmt: skip
    for share in SHARES:
        panel.axhline(share, color=GREY, linestyle=":", linewidth=0.8)
    panel.set(xlim=(found.without, max(found.signals)), ylim=(0.0, 1.02))
    panel.set(xlabel=_axis(found), ylabel="share of skies in which it is found")
    panel.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.9)
    return figure


def _lines(found: Found) -> list[dict[str, Any]]:
    """A line for each strength: quantiles of TS, and the share that is found at each significance."""
    lines = []
    for place, (strength, ts) in enumerate(found.signals.items(), start=1):
        low, middle, high = np.quantile(ts, [0.16, 0.5, 0.84]).tolist()
        line = {"strength": strength, "skies": len(ts), "ts_q16": low, "ts_q50": middle, "ts_q84": high}
        for power in found.powers:
            shares = (power.share[place], power.low[place], power.high[place])
            names = (f"found_{power.sigma:g}_sigma{end}" for end in ("", "_low", "_high"))
            line |= dict(zip(names, map(float, shares), strict=True))
        lines.append(line)
    return lines


def _thresholds(found: Found) -> Table:
    """How strong a signal must be."""
    rows = []
    for power in found.powers:
        larger = int((found.null > power.ts_above).sum())
        cells = [_significance(power), f"{number(power.ts_above, 0.1)} ({larger} of {len(found.null)})"]
        rows.append([*cells, *(_reached(power.strength_at(share), power.strengths) for share in SHARES)])
    shares = [f"in {100 * share:g} % of skies from" for share in SHARES]
    headings = ["found at", "TS above (skies of the null)", *shares]
    return Table(headings, rows, f"{_axis(found)}, with 68 % intervals", words=1)


def _reached(ends: tuple[float | None, float | None, float | None], strengths: NDArray[np.float64]) -> str:
    """A strength with its interval, as far as the strengths reach."""
    value, low, high = (f"above {number(float(strengths[-1]))}" if one is None else number(one, 0.01) for one in ends)
    return value if value == low == high else f"{value} ({low} – {high})"


def _strengths(found: Found) -> Table:
    """What was found of each strength."""
    rows = []
    for place, (strength, ts) in enumerate(found.signals.items(), start=1):
        shares = ((float(of[place]) for of in (power.share, power.low, power.high)) for power in found.powers)
        cells = (f"{number(share, 0.01)} ({interval(low, high, 0.01)})" for share, low, high in shares)
        rows.append([number(strength), str(len(ts)), number(float(np.median(ts)), 0.1), *cells])
    headings = [_axis(found), "skies", "median TS", *(f"found at {_significance(power)}" for power in found.powers)]
    return Table(headings, rows, "share of skies, with its 68 % interval", words=0)


def _significance(power: Power) -> str:
    return f"{power.sigma:g} sigma"


def _axis(found: Found) -> str:
    return f"{found.parameter} [{found.unit}]" if found.unit else found.parameter


def _value(value: Any) -> str:
    return f"[{', '.join(map(number, value))}]" if isinstance(value, list) else number(value)
