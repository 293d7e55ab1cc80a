"""`gammasky campaign report`: the answer of a campaign as one page, with tables and figures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from gammasky.analyses.ensemble import answer_page, weights_page
from gammasky.analyses.ensemble.answer import Answer, read_answer
from gammasky.analyses.ensemble.export import write_tables
from gammasky.analyses.ensemble.figures import save_figures
from gammasky.engine.files import write_text
from gammasky.engine.infer.report.html import Head, page, require_own

GENERATOR = "gammasky campaign report"
REPORT, FIGURES = "report.html", "figures"


def write_report(folder: Path | str, answer: Answer | None = None, *, every: bool = False) -> Path:
    """Write the answer of the campaign in `folder`, as far as it is done.

    Beside the campaign's own files: report.html, which needs nothing from outside; answer.csv, the members
    with their weights; effects.csv; figures/.

    Args:
        folder: of the campaign.
        answer: of it, where it has been read already.
        every: whether members count whose verdict is not *reliable*.

    Returns:
        where the page is.

    Raises:
        InputError: no campaign there, no member done, a member's file that is damaged, or another report.html there.
        OSError: what the file system refused; an older page is then still whole.
    """
    folder = Path(folder)
    require_own(folder / REPORT, GENERATOR)
    answer = answer or read_answer(folder, every=every)
    pictures = save_figures(answer, folder / FIGURES)
    write_tables(answer, folder)
    write_text(folder / REPORT, report_page(answer, pictures))
    return folder / REPORT


def report_page(answer: Answer, pictures: Mapping[str, Path]) -> str:
    """The page.

    Args:
        answer: of the campaign.
        pictures: figures by name.
    """
    sections = [
        answer_page.result(answer),
        answer_page.moving(answer, pictures),
        answer_page.marginal(answer, pictures),
        answer_page.forests(answer, pictures),
        weights_page.evidence(answer),
        weights_page.stacks(answer),
        weights_page.absent(answer),
        weights_page.configuration(answer),
    ]
    head = Head(
        f"{answer.name}: ensemble", answer.name, "ensemble of fits", answer_page.facts(answer),
        description=answer.campaign.get("description", ""),
        verdict=answer_page.verdict(answer),
    )  # fmt: skip
    return page(__package__, f"{GENERATOR} {metadata.version('gammasky')}", head, sections)
