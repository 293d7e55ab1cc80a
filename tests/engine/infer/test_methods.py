"""Every method on a small region of the real sky finds one posterior."""

from __future__ import annotations

import numpy as np
import pytest

from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel

LONG = {
    "svi": Settings(method="svi", emulator=False, steps=1500),
    "nuts": Settings(method="nuts", warmup=300, draws=1000),
    "auto": Settings(method="auto"),
}


def standing(result: Fit, name: str) -> tuple[float, float]:
    """Mean and sd of a parameter, by weight where there are weights."""
    values = result.derived[name]
    weights = np.full(len(values), 1 / len(values)) if result.weights is None else result.weights.weights
    mean = weights @ values
    return mean, np.sqrt(weights @ (values - mean) ** 2)


@pytest.mark.slow
def test_methods_find_one_posterior(small_model: SkyModel) -> None:
    results = {method: fit(small_model, settings) for method, settings in LONG.items()}
    nuts, svi, auto = (results[method] for method in ("nuts", "svi", "auto"))
    for name in ("S_dif", "Sps_gce", "gamma", "n2", "sb"):
        mean, sd = standing(nuts, name)
        for method, result in results.items():
            of_method = standing(result, name)
            assert abs(of_method[0] - mean) < 0.2 * sd, (name, method)
            assert 0.8 < of_method[1] / sd < 1.25, (name, method)
    assert (auto.verdict.level, auto.diagnostics["result"]) == ("reliable", "emulator")
    error = np.hypot(auto.diagnostics["log_z_error"], svi.diagnostics["log_z_error"])
    assert abs(auto.diagnostics["log_z"] - svi.diagnostics["log_z"]) < 4 * error
    assert svi.verdict.level in ("preview", "unreliable")  # by k-hat; never reliable by itself
    assert nuts.chains == 4
    assert nuts.z.shape == (4 * 1000, small_model.n_latent)
    assert nuts.diagnostics["r_hat_max"] < 1.03
    assert nuts.diagnostics["gradients"] > 4 * 1300
    theta = small_model.parameters(nuts.z[17])
    np.testing.assert_allclose(nuts.log_likelihood[17], small_model.log_likelihood(theta), rtol=1e-10)


def test_laplace_reports_all_optima(small_model: SkyModel) -> None:
    result = fit(small_model, Settings(method="laplace"), n_draws=500)
    assert sum(optimum["starts"] for optimum in result.diagnostics["optima"]) == 8
    assert result.diagnostics["optima"][0]["log_density"] == pytest.approx(result.laplace.log_density)
    assert result.weights is not None
    assert abs(result.weights.log_z - result.laplace.log_evidence) < 2.0
    assert result.verdict.level in ("preview", "unreliable")
