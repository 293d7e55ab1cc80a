"""Run a test of a nested model: the observed sky, skies of the null, the evidence where it is asked for, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gammasky.analyses.nested.evidence import bayes_factor
from gammasky.analyses.nested.observed import climbed, known
from gammasky.analyses.nested.report import write_report
from gammasky.analyses.nested.result import NestedResult
from gammasky.analyses.nested.study import NestedStudy
from gammasky.analyses.nested.task import CompareSky
from gammasky.distributed.campaign import load_member, read_rows, run_campaign
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_made
from gammasky.engine.infer.progress import Progress
from gammasky.engine.interrupt import Interrupts

SKIES = "skies"
ONE_CORE = Resources()


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
        InputError: a model, data set or null that cannot be used; another test in the folder; fits that failed.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    model, null = study.opened()
    with folder_made(out):
        found = known(study, model, null, out)
        if found is None:
            with Interrupts(), Progress(quiet) as progress:
                progress.note("climbing to the maxima of the observed sky")
                found = climbed(study, model, null, out)
        truth = found.null.y.tolist()
        about = {**study.identity(model, null), "truth": truth}
        members = [
            Member(f"sky {number}", {**about, "sky": number}, {"sky": str(number)}, cost=1.0)
            for number in range(study.skies)
        ]
        tally = run_campaign(
            out / SKIES, CompareSky(study.absolute(), tuple(truth)), members, resources, runner,
            manifest=about, grow=True, retry_failed=True, again="the same command goes on from there", quiet=quiet,
            **options,
        )  # fmt: skip
        if tally.failed:
            asked = {member.name for member in members}
            first = next(row for row in read_rows(out / SKIES) if row["state"] == "failed" and row["name"] in asked)
            raise InputError(
                f"{first['name']}: {first['error']} ({tally.failed} of {tally.total} skies failed, see "
                f"{out / SKIES / 'failed'}); the same command tries those again"
            )
        rows = [load_member(out / SKIES, Store.key(member.spec)).row for member in members]
        factor = bayes_factor(study, model, null, out, quiet=quiet) if evidence else None
        result = NestedResult(study, model, null, found, rows, factor)
        write_report(result, out)
        return result
