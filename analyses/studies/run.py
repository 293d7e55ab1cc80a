"""Run a study: skies first, where it makes any, then its campaign, calibration or sensitivity, then the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.file import beside
from gammasky.analyses.studies.study import (
    QUICK_DIFFUSE,
    QUICK_NODES,
    QUICK_REGION,
    InjectedSkies,
    Sensitivity,
    Simulations,
    SmoothSkies,
    Study,
)
from gammasky.distributed.runners.base import Runner
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.report.html import require_own

CAMPAIGN, SKIES, BASE, REPORT = "campaign", "skies", "model.toml", "report.html"


def run_study(study: Study, out: Path, runner: Runner, *, quick: bool = False, **options: Any) -> tuple[Path, int]:
    """Run a study in the folder `out`, or go on with it there.

    Finished fits, and finished skies, are never done again: the same command resumes, and a study that has gained
    skies or choices goes on from there.

    Args:
        study: as `read_study` gives it.
        out: receives report.html, study.csv, and the campaign, calibration or skies.
        runner: where the fits run; results do not depend on it.
        quick: whether the model is to be cut down to a small region and a coarse source grid.
        options: `keep_going`, `allow_mixed` and `quiet`, as of `run_campaign`.

    Returns:
        the report, and how many fits failed by themselves: the same command tries these again.

    Raises:
        InputError: a study, model or dataset that cannot be used; a folder that holds something else.
    """
    from gammasky.analyses.studies.report import GENERATOR

    require_own(out / REPORT, GENERATOR)
    with folder_made(out):
        if study.calibration is not None:
            return _calibration(study, study.calibration, out, runner, options), 0
        if study.sensitivity is not None:
            return _sensitivity(study, study.sensitivity, out, runner, options), 0
        return _ensemble(study, out, runner, options, quick=quick)


def _ensemble(study: Study, out: Path, runner: Runner, options: dict[str, Any], *, quick: bool) -> tuple[Path, int]:
    """A study that is an ensemble, made on the spot."""
    from gammasky.analyses.ensemble.answer import read_answer
    from gammasky.analyses.ensemble.ensemble import Ensemble
    from gammasky.analyses.ensemble.report import write_report
    from gammasky.analyses.studies.report import write_study
    from gammasky.distributed.campaign import run_campaign

    table: dict[str, Any] = {"name": study.name, "description": study.asks, **(study.ensemble or {})}
    where = f"study {study.name}"
    planned = Ensemble.of(table, where, study.place)  # before any sky is made
    files = {name: getattr(planned, name) for name in ("model", "data", "data_dir")}
    table |= {name: planned.beside(file) for name, file in files.items() if file}
    if quick:
        table["model"] = _small(table["model"], out / BASE)
    if study.skies is not None:
        table["axes"] = {**table.get("axes", {}), "sky": _skies(study.skies, table, out / SKIES)}
    ensemble, folder = Ensemble.of(table, where, study.place), out / CAMPAIGN
    tally = run_campaign(
        folder,
        ensemble.expansion.task,
        ensemble.expansion.members,
        ensemble.resources,
        runner,
        manifest=ensemble.manifest(),
        grow=True,
        retry_failed=True,
        again="the same command goes on from there",
        **options,
    )
    if not tally.done:
        raise InputError(f"study {study.name}: every fit failed; see {folder / 'failed'}")
    answer = read_answer(folder, every=quick)  # no quick fit is reliable
    write_report(folder, answer)
    return write_study(study, answer, folder, out / REPORT), tally.failed


def _small(name: str, path: Path) -> str:
    """The model of that name in a small region, with a coarse source grid and one diffuse model, as a file at `path`.

    Most of a quick run is compilation, of which mixtures and modulations of diffuse maps cost a third.
    """
    from gammasky.analyses.ensemble.diffuse import with_diffuse, with_modulation
    from gammasky.analyses.studies.skies import used_parameters
    from gammasky.engine.infer.report.model_toml import model_toml
    from gammasky.engine.model.spec import model_from_table, read_model

    table = with_modulation(with_diffuse(read_model(name).model_dump(mode="json"), QUICK_DIFFUSE), 0)
    spec = model_from_table(table | {"parameters": used_parameters(table)})
    region = spec.region.model_copy(update=QUICK_REGION)
    grid = spec.source_grid.model_copy(update={"nodes": QUICK_NODES})
    text = model_toml(spec.model_copy(update={"region": region, "source_grid": grid}))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        if path.exists() and not (path.parent / CAMPAIGN).exists():
            raise InputError(f"`out` {path.parent}: holds a {path.name} of something else; choose another folder")
        write_text(path, text)
    return str(path.resolve())


def _skies(skies: SmoothSkies | InjectedSkies, table: dict[str, Any], folder: Path) -> Any:
    """The axis `sky` of a study that makes its own."""
    from gammasky.analyses.ensemble.datasets import place_of
    from gammasky.analyses.studies.skies import make_skies
    from gammasky.engine.model.spec import read_model

    place, dataset = place_of(table["data"], table.get("data_dir"))
    return make_skies(skies, read_model(table["model"]), dataset, place.data, folder.resolve())


def _calibration(study: Study, settings: Simulations, out: Path, runner: Runner, options: dict[str, Any]) -> Path:
    """A study that is a calibration."""
    from gammasky.analyses.calibration.report import run_scenarios
    from gammasky.analyses.calibration.run import Calibration
    from gammasky.analyses.studies.coverage import write_calibration

    given = settings.model_dump(exclude={"fit", "scenarios"})
    files = ("model", "data", "data_dir", "posterior")
    given |= {name: beside(study.place, given[name]) for name in files if given[name]}
    base = Calibration(method=settings.fit, **given)
    tables = run_scenarios(base, settings.scenarios, runner, out, **options)
    return write_calibration(study, tables, out / REPORT)


def _sensitivity(study: Study, settings: Sensitivity, out: Path, runner: Runner, options: dict[str, Any]) -> Path:
    """A study that is a sensitivity."""
    from gammasky.analyses.studies.sensitivity import run_sensitivity
    from gammasky.analyses.studies.sensitivity_page import write_sensitivity

    files = {name: getattr(settings, name) for name in ("model", "data", "data_dir")}
    here = settings.model_copy(update={name: beside(study.place, file) for name, file in files.items() if file})
    with folder_held(out):  # two that climb side by side would write to one file
        found = run_sensitivity(here, out, runner, **options)
        return write_sensitivity(study, found, out / REPORT)
