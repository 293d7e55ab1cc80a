"""What a calibration study leaves behind: coverage tables, rank histograms and P-P curves of its scenarios."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.analyses.calibration.run import FACTS, Calibration, CalibrationResult, run_calibration
from gammasky.analyses.calibration.statistics import coverage_markdown, coverage_table, ranks
from gammasky.distributed.runners.base import Runner
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_json, write_text
from gammasky.engine.folders import folder_made

RESULT, TABLES = "calibration.json", "coverage.md"
HONEST = "honest errors"


def run_scenarios(base: Calibration, scenarios: Sequence[str], runner: Runner, out: Path, **options: Any) -> str:
    """Run a calibration in each scenario, or go on with it, and write the report of them all to `out`.

    `options` are those of `run_calibration`.

    Returns:
        the tables, in Markdown.

    Raises:
        InputError: see `check_folder` and `run_calibration`.
    """
    wanted = [replace(base, scenario=scenario) for scenario in dict.fromkeys(scenarios)]
    check_folder(out, wanted)
    with folder_made(out):
        results = [run_calibration(one, runner, out / one.scenario, **options) for one in wanted]
        return write_report(out, results)


def check_folder(folder: Path, studies: Sequence[Calibration]) -> None:
    """Refuse a folder that holds the report of other studies; more skies, and more scenarios, are welcome.

    Raises:
        InputError: names what differs.
    """
    if not (folder / RESULT).is_file():
        return
    try:
        settings = [_settings(entry) for entry in json.loads((folder / RESULT).read_text(encoding="utf-8"))["studies"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{folder / RESULT}: damaged; remove it, finished skies are kept beside it") from None
    wanted = [_settings(json.loads(json.dumps(asdict(study)))) for study in studies]
    others = {study["scenario"]: study for study in settings}
    if any(others.get(study["scenario"], study) != study for study in wanted):
        raise InputError(f"`out` {folder}: holds a calibration with other settings; choose another folder")
    lost = others.keys() - {study["scenario"] for study in wanted}
    if lost:
        raise InputError(f"`out` {folder}: holds other scenarios too, ask for them again: {', '.join(sorted(lost))}")


def _settings(study: dict[str, Any]) -> dict[str, Any]:
    with_defaults = {"honest": None, **study}  # a report of an older version does not say
    return {name: value for name, value in with_defaults.items() if name not in ("skies", "data_dir")}


def _posteriors(result: CalibrationResult) -> dict[str, np.ndarray]:
    """The draws (J, L, K) of a scenario, and the honest ones, by name."""
    names = {"draws": result.study.scenario, "honest": f"{result.study.scenario}, {HONEST}"}
    return {name: result.members[kind] for kind, name in names.items() if kind in result.members}


def write_report(folder: Path, results: Sequence[CalibrationResult]) -> str:
    """Write calibration.json, coverage.md, pp.png and the rank histograms of every scenario.

    Returns:
        the tables, in Markdown.

    Raises:
        OSError: what the file system refused.
    """
    from gammasky.analyses.calibration.figures import save_figures

    drawn = {name: (result, draws) for result in results for name, draws in _posteriors(result).items()}
    tables = {
        name: coverage_table(result.members["truth"], draws, result.names) for name, (result, draws) in drawn.items()
    }
    text = "\n".join(f"## {scenario}\n\n{coverage_markdown(table)}" for scenario, table in tables.items())
    numbers = {
        "studies": [asdict(result.study) for result in results],
        "tables": {scenario: asdict(table) for scenario, table in tables.items()},
        "seconds_per_fit": {result.study.scenario: float(np.median(result.members["seconds"])) for result in results},
        "median_k_hat": {result.study.scenario: float(np.median(result.members["k_hat"])) for result in results},
        **{fact: {of.study.scenario: int(np.nansum(of.members[fact])) for of in results} for fact in FACTS},
    }
    write_text(folder / TABLES, text)
    write_json(folder / RESULT, numbers)
    n_draws = results[0].members["draws"].shape[1]
    by_name = {name: ranks(result.members["truth"], draws) for name, (result, draws) in drawn.items()}
    save_figures(by_name, n_draws, results[0].names, folder)
    return text
