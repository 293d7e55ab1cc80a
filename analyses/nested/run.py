"""Run a test of a nested model: the observed sky, skies of the null, the evidence where it is asked for, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.cost import climbing_seconds
from gammasky.analyses.ensemble.expansion import has_points
from gammasky.analyses.nested.evidence import bayes_factor
from gammasky.analyses.nested.observed import Observed, climbed, known
from gammasky.analyses.nested.report import GENERATOR, REPORT, write_report
from gammasky.analyses.nested.result import NestedResult
from gammasky.analyses.nested.study import NestedStudy
from gammasky.analyses.nested.task import CompareSky
from gammasky.analyses.sky_study import ONE_CORE, run_skies
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Runner
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.report.html import require_own
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel

SKIES = "skies"


def run_test(
    study: NestedStudy,
    runner: Runner,
    out: Path,
    *,
    evidence: bool = False,
    resources: Resources = ONE_CORE,
    quiet: bool = False,
    **options: Any,
) -> NestedResult:
    """Test a model, or go on with the test in the folder `out`, and write its report there; see `NestedTest.run`.

    Args:
        study: the test.
        runner: where skies are fitted; the results do not depend on it. resources: of each of them.
        out: of the test.
        evidence: find the evidence of both models, too.
        quiet: nothing on stderr but warnings.
        options: `keep_going` and `allow_mixed`, as of `run_campaign`.

    Raises:
        InputError: a model, data set or null that cannot be used; another test in the folder, or another
            process that writes there; fits that failed.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    require_own(out / REPORT, GENERATOR)
    model, null = study.opened()
    with folder_made(out), folder_held(out):  # two that climb side by side would write to one file
        found = maxima_of_the_data(study, model, null, out, quiet=quiet)
        truth = found.ratio.null.y.tolist()
        task = CompareSky(study.absolute(), tuple(truth))
        skies = run_skies(
            out / SKIES, task, [{"sky": number} for number in range(study.skies)], runner,
            cost=climbing_seconds(2 * BATCH, model.pixels, points=has_points(model.spec)),
            manifest={**study.about(model, null), "truth": truth}, resources=resources, quiet=quiet, **options,
        )  # fmt: skip
        rows = [sky.row for sky in skies]
        factor = bayes_factor(study, model, null, out, quiet=quiet) if evidence else None
        result = NestedResult(study, model, null, found.ratio, rows, factor, found.higher)
        write_report(result, out)
        return result


def maxima_of_the_data(study: NestedStudy, model: SkyModel, null: Null, out: Path, *, quiet: bool) -> Observed:
    """The maxima on the observed sky: those that the folder `out` holds, or found now and kept there.

    Raises:
        InputError: the folder holds another test, or its file is damaged.
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
        KeyboardInterrupt: after Ctrl-C.
    """
    found = known(study, model, null, out)
    if found is None:
        with Interrupts(), Progress(quiet) as progress:
            progress.note("climbing to the maxima of the observed sky")
            found = climbed(study, model, null, out)
    return found
