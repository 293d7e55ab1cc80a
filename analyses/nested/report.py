"""What a test leaves behind: a page, the same in Markdown, all numbers, and the test statistic of each sky."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from gammasky.analyses.nested.result import NestedResult, degrees_words
from gammasky.distributed.table import write_csv
from gammasky.engine.files import write_json, write_text
from gammasky.engine.infer.figures.style import save, styled
from gammasky.engine.infer.report.html import Head, Section, Table, page, picture
from gammasky.engine.infer.report.numbers import ABSENT, interval, number

GENERATOR = "gammasky test"
REPORT, MARKDOWN, NUMBERS, SKIES, FIGURE = "report.html", "test.md", "test.json", "ts.csv", "survival.png"
METHOD = (
    "TS is twice the difference of the maxima of the log-likelihood, of the model and of the null, each the highest of "
    "climbs from several starts, as many on the observed sky as on every simulated one. It is the likelihood that is "
    "maximised, within the supports of the priors, not the posterior; a norm that the null sets to 0 may be as small "
    "as 0 in the model, too. The skies are drawn from the fitted null and treated as the observed one, so that ends of "
    "supports, and parameters that mean nothing without their component, are in the distribution. A TS below 0.001 "
    "counts as 0."
)


def write_report(result: NestedResult, folder: Path) -> Path:
    """Write report.html, test.md, test.json, ts.csv and survival.png.

    Raises:
        OSError: what the file system refused; each file is whole or not there.
    """
    with styled():
        figure = save(result.plot(), folder / FIGURE)
    write_csv(folder / SKIES, result.table().to_dict("records"))
    write_json(folder / NUMBERS, result.summary())
    write_text(folder / MARKDOWN, markdown(result))
    write_text(folder / REPORT, test_page(result, figure))
    return folder / REPORT


def answers(result: NestedResult) -> list[tuple[str, str]]:
    """The result, line by line: what, and its value."""
    p, factor = result.p, result.bayes_factor
    lines = [
        ("null", ", ".join(result.null.texts)),
        ("TS", number(result.ts, 0.1)),
        (f"skies of the null ({result.study.simulator})", number(p.skies)),
        ("of them with a TS as large", number(p.exceeding)),
        ("p-value", number(p.value)),
        ("68 % interval of the probability", interval(p.low, p.high)),
        ("one-sided significance", f"{number(p.sigma, 0.1)} sigma"),
        (f"chi-square, {degrees_words(result.null.degrees)}, for comparison only", number(result.p_chi_square)),
    ]
    if factor is not None:
        lines.append(("ln Bayes factor of the model over the null", factor.text()))
    return lines


def markdown(result: NestedResult) -> str:
    """The report as Markdown."""
    title = f"{result.model.spec.name} on {result.model.dataset.name}: test of {', '.join(result.null.texts)}"
    lines = [f"# {title}", "", METHOD, "", "| | |", "| --- | ---: |"]
    lines += [f"| {what} | {value} |" for what, value in answers(result)]
    lines += ["", *(f"- {line}" for line in result.warnings()), "", f"![Survival function]({FIGURE})", ""]
    lines += ["| parameter | null | | model | |", "| --- | ---: | --- | ---: | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(result)]
    return "\n".join(lines) + "\n"


def test_page(result: NestedResult, figure: Path) -> str:
    """The report as one HTML page."""
    name, kind = result.model.spec.name, f"on {result.model.dataset.name}: test of a nested model"
    facts = [", ".join(result.null.texts), f"{result.p.skies} skies", f"seed {result.study.seed}"]
    shown = picture(figure.read_bytes(), "Survival function of TS", "How often the null gives a TS as large.", FIGURE)
    answer = Table(["", ""], [list(line) for line in answers(result)], words=1)
    maxima = Table(["parameter", "null", "", "model", ""], _rows(result), "Where the likelihood is highest", words=1)
    values: dict[str, Any] = {"table": answer, "method": METHOD, "warnings": result.warnings()}
    sections = [
        Section("answer", "Result", values, "Result"),
        Section("distribution", "The null's own skies", {"picture": shown}, "Skies", template="picture.html"),
        Section("maxima", "The maxima", {"table": maxima}, "Maxima"),
    ]
    head = Head(f"{name} {kind}", name, kind, facts, result.model.spec.description)
    return page(__package__, f"{GENERATOR} {metadata.version('gammasky')}", head, sections)


def _rows(result: NestedResult) -> list[list[str]]:
    return [
        [
            line["parameter"],
            ABSENT if line["null"] is None else number(line["null"]),
            line["null_is"],
            number(line["model"]),
            line["model_is"],
        ]
        for line in result.maxima()
    ]
