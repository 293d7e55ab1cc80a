"""A profile likelihood, to run from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gammasky.analyses.profiles.result import ProfileResult
from gammasky.analyses.profiles.run import run_profile
from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.distributed.runners.place import runner_at


class ProfileLikelihood(ProfileStudy):
    """The profile likelihood of one number, such as `ProfileLikelihood("fiducial", of="S_gce")`; see `ProfileStudy`.

    `run` gives the profile and its intervals and, with `skies`, Feldman-Cousins intervals, CLs and expected limits.

    Example:
        >>> import gammasky
        >>> profile = gammasky.ProfileLikelihood("calibration", "demo", of="S_gce", skies=100)
        >>> profile.of, profile.level
        ('S_gce', 0.95)
    """

    def run(
        self,
        out: Path | str,
        *,
        address: str | None = "auto",
        workers: int | None = None,
        lanes: int = 1,
        **options: Any,
    ) -> ProfileResult:
        """Profile the number, or go on in the folder `out`, where every sky that is done stays done.

        Args:
            out: receives report.html, profile.md, profile.json, profile.csv, profile.png and the skies.
            address, workers, lanes: where the skies are fitted, as of `Ensemble.run`.
            options: `keep_going`, `allow_mixed` and `quiet`, as of `run_campaign`.

        Raises:
            InputError: a model, data set or number that cannot be used; a folder with another profile.
            KeyboardInterrupt: after Ctrl-C; the same call goes on.
        """
        return run_profile(self, runner_at(address, workers, lanes), Path(out), **options)
