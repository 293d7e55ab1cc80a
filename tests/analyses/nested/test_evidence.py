"""The Bayes factor of two nested models against quadrature of the likelihood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from gammasky.analyses.nested.evidence import bayes_factor
from gammasky.analyses.nested.nested import NestedTest
from gammasky.engine.infer.outputs import CHECKPOINT
from tests.smooth_model import MODEL

pytestmark = pytest.mark.usefixtures("compiled_fast")


def log_mean(values: np.ndarray) -> float:
    """The logarithm of the mean of a function over a box, from its logarithm at the middles of equal cells."""
    return float(logsumexp(values) - np.log(values.size))


def middles(low: float, high: float, n: int = 1500) -> np.ndarray:
    return low + (high - low) * (np.arange(n) + 0.5) / n


@pytest.mark.slow
def test_a_bayes_factor_is_that_of_quadrature(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "smooth.toml").write_text(MODEL)
    study = NestedTest(str(tmp_path / "smooth.toml"), str(tiny_files / "sky"), null=("S_peak = 3",), skies=1)
    model, null = study.opened()
    found = bayes_factor(study, model, null, tmp_path, quiet=True)

    sky = model.sky(model.point({"S_flat": 1.0, "S_peak": 1.0}))
    flat, peak = (np.asarray(sky.templates[name])[: model.pixels.n_fit] for name in ("flat", "peak"))
    counts = np.asarray(model.pixels.counts)

    def heights(norms: np.ndarray, norm: float) -> np.ndarray:
        mean = norms[:, None] * flat + norm * peak
        return np.sum(counts * np.log(mean) - mean - gammaln(counts + 1.0), axis=1)

    norms = middles(0.5, 6.0)
    log_z = log_mean(np.stack([heights(norms, norm) for norm in middles(0.0, 9.0)]))
    log_z_null = log_mean(heights(norms, 3.0))
    assert found.error < 0.1
    np.testing.assert_allclose([found.log_z, found.log_z_null], [log_z, log_z_null], atol=0.05)
    np.testing.assert_allclose(found.ln, log_z - log_z_null, atol=0.05)
    assert (tmp_path / "evidence" / "null" / CHECKPOINT).is_file()
    assert bayes_factor(study, model, null, tmp_path, quiet=True) == found  # as kept
