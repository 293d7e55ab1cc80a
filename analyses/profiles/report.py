"""What a profile leaves behind: a page, the same in Markdown, all numbers, and the points."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from gammasky.analyses.profiles.result import ProfileResult
from gammasky.distributed.table import write_csv
from gammasky.engine.files import write_json, write_text
from gammasky.engine.infer.figures.style import save, styled
from gammasky.engine.infer.report.html import Head, Section, Table, page, picture
from gammasky.engine.infer.report.numbers import ABSENT, number

GENERATOR = "gammasky profile"
REPORT, MARKDOWN, NUMBERS, POINTS, FIGURE = "report.html", "profile.md", "profile.json", "profile.csv", "profile.png"
METHOD = (
    "The profile likelihood is the highest likelihood for each value, within the supports of the priors, not the "
    "posterior. Intervals by its fall use chi-square with one degree. Feldman-Cousins intervals and CLs limits use "
    "the distribution of the same statistic on skies that are drawn from the fit at each value, with as many climbs on "
    "each as on the observed sky; expected limits are the CLs limits of skies without the component. A dash stands for "
    "an end that is not within what the number can be, or not within the values that were tried."
)


def write_report(result: ProfileResult, folder: Path) -> Path:
    """Write report.html, profile.md, profile.json, profile.csv and profile.png.

    Raises:
        OSError: what the file system refused; each file is whole or not there.
    """
    with styled():
        figure = save(result.plot(), folder / FIGURE)
    write_csv(folder / POINTS, result.table().to_dict("records"))
    write_json(folder / NUMBERS, result.summary())
    write_text(folder / MARKDOWN, markdown(result))
    write_text(folder / REPORT, _page(result, figure))
    return folder / REPORT


def lines(result: ProfileResult) -> list[tuple[str, str]]:
    """The numbers, line by line: what, and its value."""
    return [(what, _told(value, result)) for what, value in result.answers()]


def _told(value: Any, result: ProfileResult) -> str:
    spread = 0.02 * (float(result.profile.values[-1]) - float(result.profile.values[0]))
    if isinstance(value, tuple):
        return " to ".join(ABSENT if one is None else number(one, spread) for one in value)
    return ABSENT if value is None else number(value, spread)


def markdown(result: ProfileResult) -> str:
    """The report as Markdown."""
    title = f"{result.model.spec.name} on {result.model.dataset.name}: profile of {result.profile.quantity.name}"
    unit = result.profile.quantity.unit
    told = [f"# {title}", "", METHOD, "", f"| | {unit} |", "| --- | ---: |"]
    told += [f"| {what} | {value} |" for what, value in lines(result)]
    told += ["", *(f"- {line}" for line in result.warnings()), "", f"![Profile likelihood]({FIGURE})"]
    return "\n".join(told) + "\n"


def _page(result: ProfileResult, figure: Path) -> str:
    quantity, study = result.profile.quantity, result.study
    name, kind = result.model.spec.name, f"on {result.model.dataset.name}: profile of {quantity.name}"
    facts = [f"{len(result.profile.values)} points", f"{study.skies} skies of each value", f"seed {study.seed}"]
    shown = picture(figure.read_bytes(), "Profile likelihood", f"The profile likelihood of {quantity.name}.", FIGURE)
    answer = Table(["", quantity.unit], [list(line) for line in lines(result)], words=1)
    values: dict[str, Any] = {"table": answer, "method": METHOD, "warnings": result.warnings()}
    sections = [
        Section("answer", "Result", values, "Result"),
        Section("profile", "The profile", {"picture": shown}, "Profile", template="picture.html"),
    ]
    head = Head(
        f"{name} {kind}", name, kind, facts if study.skies else [facts[0], facts[2]], result.model.spec.description
    )
    return page(__package__, f"{GENERATOR} {metadata.version('gammasky')}", head, sections)
