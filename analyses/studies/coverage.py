"""The page of a study that is a calibration: its coverage tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gammasky.analyses.calibration.report import RESULT
from gammasky.analyses.studies.report import TABLE, question, study_page
from gammasky.analyses.studies.study import Study
from gammasky.distributed.table import write_csv
from gammasky.engine.files import write_text
from gammasky.engine.infer.report.html import Section, picture


def write_calibration(study: Study, coverage: str, path: Path) -> Path:
    """Write the page of a calibration at `path`: its coverage tables, and the figures that lie beside it; study.csv.

    Args:
        study: what was run.
        coverage: the tables, in Markdown.
        path: of the page, in the folder where `gammasky.analyses.calibration.report` has written its own.

    Raises:
        OSError: what the file system refused.
    """
    figures = [
        picture(file.read_bytes(), file.stem, file.stem, str(file)) for file in sorted(path.parent.glob("*.png"))
    ]
    sections = [
        question(study),
        Section("coverage", "Coverage", {"text": coverage}),
        Section("figures", "Figures", {"pictures": figures}) if figures else None,
    ]
    lines = _coverages(path.with_name(RESULT))
    write_csv(path.with_name(TABLE), lines)
    skies = {line["scenario"]: line["skies"] for line in lines}
    facts = "fits: " + ", ".join(f"{number} of {scenario}" for scenario, number in skies.items())
    write_text(path, study_page(study, facts, sections))
    return path


def _coverages(path: Path) -> list[dict[str, Any]]:
    """A line for each scenario and parameter, from the numbers of a calibration."""
    tables: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["tables"]
    lines = []
    for scenario, found in tables.items():
        for entry in found["parameters"]:
            line = {"scenario": scenario, "parameter": entry["name"], "skies": found["n_skies"]}
            line |= {name: entry[name] for name in ("bias", "bias_error", "spread", "p_uniform")}
            lines.append(line | {f"coverage_{100 * cell['level']:g}": cell["fraction"] for cell in entry["coverage"]})
    return lines
