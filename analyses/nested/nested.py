"""A test of a nested model, to run from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gammasky.analyses.nested.result import NestedResult
from gammasky.analyses.nested.run import run_test
from gammasky.analyses.nested.study import NestedStudy
from gammasky.distributed.runners.place import runner_at


class NestedTest(NestedStudy):
    """A model against one nested in it, such as `NestedTest("fiducial", null="Sps_gce = 0")`; see `NestedStudy`.

    `run` gives the test statistic of the observed sky, its distribution on skies of the fitted null, and the p-value.

    Example:
        >>> import gammasky
        >>> test = gammasky.NestedTest("calibration", "demo", null="Sps_gce = 0", skies=100)
        >>> test.null, test.skies
        (('Sps_gce = 0',), 100)
    """

    def run(
        self,
        out: Path | str,
        *,
        address: str | None = "auto",
        workers: int | None = None,
        lanes: int = 1,
        evidence: bool = False,
        **options: Any,
    ) -> NestedResult:
        """Test the model, or go on with that in the folder `out`, where every sky that is done stays done.

        Args:
            out: receives report.html, test.md, test.json, ts.csv, survival.png and the skies.
            address, workers, lanes: where the skies are fitted, as of `Ensemble.run`.
            evidence: find the evidence of both models, too: two fits by the emulator.
            options: `keep_going`, `allow_mixed` and `quiet`, as of `run_campaign`.

        Raises:
            InputError: a model, data set or null that cannot be used; a folder with another test.
            KeyboardInterrupt: after Ctrl-C; the same call goes on.
        """
        return run_test(self, runner_at(address, workers, lanes), Path(out), evidence=evidence, **options)
