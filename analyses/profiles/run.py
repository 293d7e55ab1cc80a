"""Run a profile: the observed sky, simulated skies where they are asked for, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gammasky.analyses.ensemble.cost import climbing_seconds
from gammasky.analyses.ensemble.expansion import has_points
from gammasky.analyses.profiles.limits import SimulatedStatistics, limits
from gammasky.analyses.profiles.observed import Observed, climbed, compared, known
from gammasky.analyses.profiles.report import GENERATOR, REPORT, write_report
from gammasky.analyses.profiles.result import ProfileResult
from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.analyses.profiles.task import ScanSky
from gammasky.analyses.sky_study import ONE_CORE, run_skies
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Runner
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.report.html import require_own
from gammasky.engine.interrupt import Interrupts

SKIES = "skies"


def run_profile(
    study: ProfileStudy,
    runner: Runner,
    out: Path,
    *,
    resources: Resources = ONE_CORE,
    quiet: bool = False,
    **options: Any,
) -> ProfileResult:
    """Profile a number, or go on in the folder `out`, and write the report there.

    Args:
        study: what to do.
        runner: where skies are fitted; the results do not depend on it. resources: of each of them.
        out: receives report.html, profile.md, profile.json, profile.csv, profile.png, and the skies.
        quiet: nothing on stderr but warnings.
        options: `keep_going` and `allow_mixed`, as of `run_campaign`.

    Raises:
        InputError: a model, data set or number that cannot be used; another profile in the folder, or
            another process that writes there; skies that failed.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    require_own(out / REPORT, GENERATOR)
    model, quantity = study.opened()
    with folder_made(out), folder_held(out):  # two that climb side by side would write to one file
        found = known(study, model, quantity, out)
        if found is None:
            with Interrupts(), Progress(quiet) as progress:
                progress.note("climbing to the maximum for each value")
                found = climbed(study, model, quantity, out)
        answer = None
        if study.skies:
            if found.statistics is None:
                with Interrupts(), Progress(quiet) as progress:
                    progress.note("climbing as on simulated skies")
                    found = compared(study, model, found, out)
            assert found.statistics is not None  # just found
            climbs = 2 * BATCH + 2 * len(found.values)  # of `scan`
            cost = climbing_seconds(climbs, model.pixels, points=has_points(model.spec))
            about = {**study.about(model), "values": found.values.tolist(), "places": found.places.tolist()}
            simulated = _simulated(
                study, found, runner, out, cost=cost, manifest=about, resources=resources, quiet=quiet, **options
            )
            answer = limits(simulated, found.statistics.ts, found.statistics.best, study.level)
        higher = 0.0 if found.statistics is None else found.statistics.higher
        result = ProfileResult(study, model, found.profile, found.values, answer, higher)
        write_report(result, out)
        return result


def _simulated(study: ProfileStudy, found: Observed, runner: Runner, out: Path, **options: Any) -> SimulatedStatistics:
    """The statistics of the simulated skies: those of the first value first."""
    places = tuple(tuple(place) for place in found.places.tolist())
    task = ScanSky(study.absolute(), tuple(found.values.tolist()), places)
    k, n = len(found.values), study.skies
    specs = [{"value": value, "sky": sky} for value in range(k) for sky in range(n)]
    skies = run_skies(out / SKIES, task, specs, runner, **options)
    own = np.array([float(sky.arrays["ts"][0]) for sky in skies]).reshape(k, n)
    best = np.array([float(sky.row["best"]) for sky in skies]).reshape(k, n)
    return SimulatedStatistics(found.values, own, best, np.stack([sky.arrays["ts"] for sky in skies[:n]]), best[0])
