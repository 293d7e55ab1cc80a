"""The page of a study: its question, the members as a table, and what the skies that it made say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble import answer_page
from gammasky.analyses.ensemble.answer import Answer, Row, column
from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.figures import axis_title
from gammasky.analyses.studies import posteriors_page
from gammasky.analyses.studies.draws import MemberDraws, Scales, all_scales, member_draws
from gammasky.analyses.studies.figures import FLUX, SMOOTH, drawn, recovered
from gammasky.analyses.studies.skies import SEPARATOR
from gammasky.analyses.studies.study import InjectedSkies, Study
from gammasky.distributed.campaign import load_member
from gammasky.distributed.table import write_csv
from gammasky.engine.files import write_text
from gammasky.engine.infer.figures.style import save
from gammasky.engine.infer.report.html import Head, Picture, Section, Table, page, picture
from gammasky.engine.infer.report.numbers import ABSENT, number

GENERATOR = "gammasky study"
TABLE, RECOVERY, FRACTIONS = "study.csv", "recovery.png", "fractions.png"
INTENSITY = "excess_intensity"
AllScales = Mapping[str, Scales]
SHOWN = ("ps_fraction", "excess_flux", "gamma", "gamma_ps", "f_bulge", "f_bulge_ps", "n_sources")


def write_study(study: Study, answer: Answer, campaign: Path, path: Path) -> Path:
    """Write the page at `path`, and study.csv and, where skies were made, a figure beside it.

    Args:
        study: what was run.
        answer: of its campaign.
        campaign: folder of its members.
        path: of the page.

    Raises:
        InputError: a member's file that is damaged.
        OSError: what the file system refused.
    """
    found = {row["name"]: load_member(campaign, row["key"]) for row in answer.rows}
    specs = {name: member.spec for name, member in found.items()}
    scales = all_scales(Ensemble(**answer.campaign).expansion.task, specs)
    rows = _labelled(study, answer, scales)
    groups = _groups(rows, answer.quantities)
    parts: list[Section | None] = [question(study), _members(answer, scales)]
    if study.skies is None and len(answer.rows) > 1:
        parts.append(answer_page.result(answer))
    draws = {name: partial(member_draws, member, scales[name]) for name, member in found.items()}
    parts += _posteriors(study, draws, scales, groups, path)
    if study.skies is not None:
        injected = isinstance(study.skies, InjectedSkies)
        place = path.with_name(RECOVERY if injected else FRACTIONS)
        figure = save(drawn(groups, rows, injected=injected), place)
        values = {"table": _told(study, groups), "picture": _picture(study, figure)}
        parts.insert(1, Section("skies", "All skies together", values))
    write_csv(path.with_name(TABLE), groups)
    write_text(path, study_page(study, _facts(answer), parts, f"{campaign.name}/report.html"))
    return path


def _posteriors(
    study: Study,
    draws: Mapping[str, Callable[..., MemberDraws]],
    scales: AllScales,
    groups: list[dict[str, Any]],
    path: Path,
) -> list[Section | None]:
    """What the study shows of the draws of its members; their numbers go into the lines of study.csv, too."""
    parts: list[Section | None] = []
    lines = {line["truth"]: line for line in groups}  # a line for each member: no skies were made
    if study.compared or study.source_counts:
        members = {label: read() for label, read in draws.items()}
        if study.compared:
            parts.append(posteriors_page.beside_the_paper(study, members, scales))
            for label, member in members.items():
                lines[label] |= posteriors_page.compared_numbers(study, member)
        if study.source_counts:
            parts.append(posteriors_page.source_counts(members, scales, path.with_name(posteriors_page.SOURCE_COUNTS)))
    if study.power_scaling:
        found = {label: posteriors_page.sensitivities(read(reweighted=True)) for label, read in draws.items()}
        parts.append(posteriors_page.power_scaled(found))
        for label, by_part in found.items():
            lines[label] |= {f"{name}_by_{part}": value for part, row in by_part.items() for name, value in row.items()}
    return parts


def _facts(answer: Answer) -> str:
    """How many fits there are."""
    whole = "1 fit" if len(answer.rows) == 1 else f"{len(answer.rows)} fits"
    whole += f", {len(answer.missing)} to come" if answer.missing else ""
    return whole + (f", {len(answer.failed)} failed" if answer.failed else "")


def study_page(study: Study, facts: str, sections: Sequence[Section | None], link: str = "") -> str:
    """The whole page of a study: facts about it, its sections, a link to the report of its members."""
    head = Head(f"{study.name}: study", study.name, "study", [facts], link=link)
    return page(__package__, f"{GENERATOR} {metadata.version('gammasky')}", head, sections)


def question(study: Study) -> Section:
    """What the study asks, and the papers that it follows."""
    return Section("question", "The question", {"asks": study.asks, "follows": study.follows})


def _members(answer: Answer, scales: AllScales) -> Section:
    """Every member: choices, evidence, and the quantities that it has."""
    shown = [name for name in SHOWN if name in answer.quantities]
    rows = [
        [row["name"], row["verdict"], number(row.get("log_z"), 0.1), *(_with_error(row, name) for name in shown),
         _with_error(_intensity(row, scales, 1e7), INTENSITY)]
        for row in answer.rows
    ]  # fmt: skip
    headings = ["member", "verdict", "log Z", *(axis_title(name) for name in shown)]
    headings.append("intensity of the excess [10⁻⁷ photons cm⁻² s⁻¹ sr⁻¹]")
    caption = "mean ± standard deviation; log Z compares members on the same pixels only"
    return Section("members", "Members", {"table": Table(headings, rows, caption, words=2)})


def _with_error(row: Row, name: str) -> str:
    mean, sd = row.get(f"{name}_mean"), row.get(f"{name}_sd")
    return ABSENT if mean is None or sd is None else f"{number(mean, sd)} ± {number(sd, sd)}"


def _intensity(row: Row, scales: AllScales, unit: float = 1.0) -> Row:
    """Mean and sd of the intensity of the excess [1 / unit cm^-2 s^-1 sr^-1], where it has one."""
    scale = scales[row["name"]]
    if scale.intensity is None or row.get(f"{FLUX}_mean") is None:
        return {}
    return {f"{INTENSITY}_{key}": row[f"{FLUX}_{key}"] * scale.intensity * unit for key in ("mean", "sd")}


def _labelled(study: Study, answer: Answer, scales: AllScales) -> list[Row]:
    """The rows with the intensity of the excess, the `truth` of the sky, and the other `choices`; where no skies were
    made each member is its own truth."""
    rows = []
    for row in answer.rows:
        others = ",".join(f"{axis}={choice}" for axis, choice in row["labels"].items() if axis != "sky")
        truth = row["labels"].get("sky", "").rpartition(SEPARATOR)[0] if study.skies else row["name"]
        rows.append({**row, **_intensity(row, scales), "truth": truth, "choices": others})
    return rows


def _groups(rows: Sequence[Row], quantities: Sequence[str]) -> list[dict[str, Any]]:
    """One line for all skies of a truth under the same other choices."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["truth"], row["choices"]), []).append(row)
    lines = []
    for (truth, others), skies in found.items():
        line: dict[str, Any] = {"truth": truth, "choices": others, "skies": len(skies)}
        for name in (*quantities, INTENSITY):
            means, sds = column(skies, f"{name}_mean"), column(skies, f"{name}_sd")
            if any(f"{name}_mean" in sky for sky in skies):
                scatter = float(means.std(ddof=1)) if len(skies) > 1 else math.nan
                line |= {name: float(means.mean()), f"{name}_scatter": scatter, f"{name}_sd": float(sds.mean())}
        lines.append(line)
    return lines


def _told(study: Study, groups: Sequence[dict[str, Any]]) -> Table:
    """The lines as a table; with an injected signal, what was found of it."""
    injected = isinstance(study.skies, InjectedSkies)
    headings = ["injected [counts/pixel]" if injected else "truth", "fitted with", "skies"]
    headings += ["found [counts/pixel]", "bias", "of it smooth"] if injected else []
    headings += [
        "point-source fraction (mean)",
        "scatter between skies",
        "its sd in one fit",
        "flux of the excess [counts/pixel]",
    ]
    rows = []
    for line in groups:
        cells = [line["truth"], line["choices"] or "the model", str(line["skies"])]
        if injected:
            found = recovered(groups, line)
            bias = found - float(line["truth"])
            cells += [number(value, 0.01) for value in (found, bias, recovered(groups, line, SMOOTH))]
        numbers = [line.get(name) for name in ("ps_fraction", "ps_fraction_scatter", "ps_fraction_sd", "excess_flux")]
        rows.append([*cells, *(number(value, 0.01) for value in numbers)])
    return Table(headings, rows, words=2)


def _picture(study: Study, path: Path) -> Picture:
    what, bars = "Point-source fraction found in every sky", "median and 5 to 95 % of each fit"
    if isinstance(study.skies, InjectedSkies):
        what, bars = "Recovery of the signal", "bars: posterior standard deviation of one fit"
    return picture(path.read_bytes(), what, f"{what}; {bars}.", str(path))
