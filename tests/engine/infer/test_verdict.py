"""Verdicts: what makes a variational fit a preview, and what makes it unreliable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.verdict import verdict_on_guide

GOOD = Importance(
    np.full(1000, 1e-3),
    k_hat=0.3,
    ess=900.0,
    efficiency=0.9,
    log_z=-10.0,
    log_z_error=0.01,
    elbo=-10.1,
    elbo_error=0.01,
)


def test_a_good_fit_alone_is_a_preview() -> None:
    verdict = verdict_on_guide(GOOD, {"S": 0.1}, "converged")
    assert verdict.level == "preview"
    assert verdict.reasons == ("no second method has looked for mass that the guide misses",)
    assert "--guide flow" in verdict.remedy


def test_a_heavy_tail_is_unreliable_and_named_first() -> None:
    verdict = verdict_on_guide(replace(GOOD, k_hat=0.88, elbo=-12.0), {"S": 0.1}, "converged")
    assert verdict.level == "unreliable"
    assert verdict.reasons[0].startswith("k-hat 0.88 is above 0.7")
    assert any(reason.startswith("log Z - ELBO is 2.00, above 1 nat") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("weights", "shifts", "status", "reason"),
    [
        (replace(GOOD, elbo=-11.5), {"S": 0.0}, "converged", "log Z - ELBO is 1.50"),
        (GOOD, {"S": 0.1, "n1[a]": -0.35}, "converged", r"weights move the mean of n1[a] by -0.35 sd"),
        (GOOD, {"S": 0.1}, "stopped", "the optimiser stopped while the ELBO still rose"),
    ],
)
def test_doubts(weights: Importance, shifts: dict[str, float], status: str, reason: str) -> None:
    verdict = verdict_on_guide(weights, shifts, status)
    assert verdict.level == "preview"
    assert verdict.reasons[0].startswith(reason)
    assert verdict.as_dict() == {"level": "preview", "reasons": list(verdict.reasons), "remedy": verdict.remedy}
