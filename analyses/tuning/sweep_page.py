"""The page of a sweep: what was best, how the objectives lie along the axes, and every trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.tuning.columns import title_of
from gammasky.analyses.tuning.report import objectives, swept_lines, values_told
from gammasky.analyses.tuning.sweep_figures import save_figures
from gammasky.distributed.tuning.sweep import SweepTrial, Swept
from gammasky.engine.files import write_text
from gammasky.engine.infer.report.html import Head, Section, Table, page, picture, require_own
from gammasky.engine.infer.report.numbers import ABSENT, number

GENERATOR = "gammasky tune"
REPORT, FIGURES = "report.html", "figures"
_SIGNS = {"reliable": "✓", "preview": "◐", "unreliable": "✕"}
# beside the objectives: heading, and the digits that matter
_BESIDE: dict[str, tuple[str, float | None]] = {
    "verdict": ("verdict", None), "log_z": ("log Z", 0.1), "k_hat": ("k-hat", 0.1), "fit_seconds": ("seconds", 10.0),
}  # fmt: skip


def write_page(found: Swept, expansion: Expansion, folder: Path) -> Path:
    """Write report.html and figures/ into the folder of a sweep; returns where the page is.

    Raises:
        InputError: another report.html is there.
        OSError: what the file system refused; an older page is then still whole.
    """
    require_own(folder / REPORT, GENERATOR)
    pictures = save_figures(found, expansion.axes, folder / FIGURES)
    write_text(folder / REPORT, sweep_page(found, expansion, pictures))
    return folder / REPORT


def sweep_page(found: Swept, expansion: Expansion, pictures: Mapping[str, Path]) -> str:
    """The page; `pictures` are figures by name."""
    ensemble = expansion.ensemble
    told = {"model": ensemble.model, "data": ensemble.data, "fit": ensemble.fit.method}
    facts = [f"{len(found.trials)} trials", objectives(found), *(f"{name} {value}" for name, value in told.items())]
    sections = [_best(found), _figures(pictures), _trials(found), _configuration(expansion)]
    head = Head(
        f"{ensemble.name}: sweep", ensemble.name, "sweep over model space", facts,
        description=ensemble.description, verdict=_verdict(found),
    )  # fmt: skip
    return page(__package__, f"{GENERATOR} {metadata.version('gammasky')}", head, sections)


def _verdict(found: Swept) -> dict[str, Any]:
    """How far the best trials can be trusted."""
    levels = [str(trial.row.get("verdict", "preview")) for trial in found.front]
    level = next((name for name in ("unreliable", "preview", "reliable") if name in levels), "unreliable")
    several = len(found.front) > 1
    if not levels:
        meaning = "No trial has a value and meets all constraints."
    else:
        meaning = f"The verdict on {'the worst of the best fits' if several else 'the best fit'}."
    return {"level": level, "sign": _SIGNS[level], "meaning": meaning, "reasons": swept_lines(found)}


def _best(found: Swept) -> Section:
    several = len(found.goals) > 1
    shown = found.front if several else found.ranked[:10]
    title = "No other is better in every respect" if several else "The best"
    return Section("best", title, {"table": _table(found, shown), "several": several, "found": bool(shown)}, "Best")


def _table(found: Swept, trials: tuple[SweepTrial, ...]) -> Table:
    axes = list(dict.fromkeys(name for trial in found.trials for name in trial.params))
    columns = [goal.column for goal in found.goals]
    beside = [name for name in _BESIDE if name not in columns and any(name in trial.row for trial in trials)]
    quantities = [column.removesuffix("_mean") for column in columns if column.endswith("_mean")]
    widths = [f"{name}_sd" for name in quantities]
    words = 1 + len(axes)
    rows = [
        [
            str(trial.number),
            *(_chosen(trial.params.get(axis)) for axis in axes),
            *(values_told(trial) or [ABSENT] * len(columns)),
            *(number(trial.row.get(name), trial.row.get(name)) for name in widths),
            *(number(trial.row.get(name), _BESIDE[name][1]) for name in beside),
        ]
        for trial in trials
    ]
    return Table(
        [
            "trial",
            *axes,
            *map(title_of, columns),
            *(["posterior sd"] * len(widths)),
            *(_BESIDE[name][0] for name in beside),
        ],
        rows,
        words=words,
    )


def _chosen(value: Any) -> str:
    return ABSENT if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _figures(pictures: Mapping[str, Path]) -> Section | None:
    """Each objective along the axes, then against the first."""
    captions = {
        "along": "{} of every trial along each axis of the search. Bars are numerical errors; the scatter beyond them"
        " is what the other axes do.",
        "front": "{} against the first objective; the line joins trials that none is better than in both.",
    }
    shown = []
    for name, path in pictures.items():
        kind, _, column = name.partition("_")
        caption = captions[kind].format(title_of(column).capitalize())
        shown.append(picture(path.read_bytes(), caption, caption, str(path)))
    return Section("along", "Along the axes", {"pictures": shown}, "Along the axes") if shown else None


def _trials(found: Swept) -> Section:
    table = _table(found, found.trials)
    ends = [trial.error or "; ".join(trial.violated) or ("best" if trial.best else "") for trial in found.trials]
    rows = [[*cells, end] for cells, end in zip(table.rows, ends, strict=True)]
    return Section("trials", "Every trial", {"table": Table([*table.headings, "misses"], rows, words=table.words)},
                   "Every trial")  # fmt: skip


def _configuration(expansion: Expansion) -> Section:
    text = json.dumps(expansion.ensemble.manifest(), indent=2, ensure_ascii=False)
    return Section("configuration", "Configuration", {"text": text}, "Configuration")
