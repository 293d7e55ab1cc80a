"""Expected counts as data: what they are, where their likelihood is highest, and what refuses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln

from gammasky.analyses.ensemble.datasets import data_identity
from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.infer.maximum.likelihood_ratio import likelihood_ratio
from gammasky.engine.infer.maximum.null import read_null
from gammasky.engine.infer.maximum.profile import profile
from gammasky.engine.infer.maximum.quantity import read_quantity
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.model import SkyModel
from gammasky.engine.model.spec import read_model
from gammasky.engine.sky.dataset import Dataset
from tests.bad_input.spoil import Capture, refusal
from tests.smooth_model import MODEL

pytestmark = pytest.mark.usefixtures("compiled_fast")
TRUTH = {"S_flat": 2.25, "S_peak": 3.1}


@pytest.fixture
def asimov(tiny: Path) -> Path:
    """The folder of expected counts at the truth, made by the command line."""
    (tiny / "smooth.toml").write_text(MODEL)
    (tiny / "truth.json").write_text(json.dumps(TRUTH))
    words = ["simulate", "smooth.toml", "--data", "sky", "--params", "truth.json", "--asimov", "--out", "asimov"]
    assert main(words) == 0
    return tiny / "asimov"


def test_expected_counts_are_those_of_the_model_and_their_likelihood_is_highest_at_the_truth(
    asimov: Path, tiny: Path
) -> None:
    """As of Cowan et al. (arXiv:1007.1727): every estimate from Asimov data is the true value."""
    model = SkyModel(tiny / "smooth.toml", Dataset.open(asimov / "sky_0000.toml"))
    sky = model.sky(model.point(TRUTH))
    mean = sum(TRUTH[f"S_{name}"] * np.asarray(sky.templates[name]) for name in ("flat", "peak"))[: model.pixels.n_fit]
    np.testing.assert_allclose(model.pixels.counts, mean, rtol=1e-12)
    assert (mean != np.round(mean)).any()
    expected = np.sum(mean * np.log(mean) - mean - gammaln(mean + 1.0))
    np.testing.assert_allclose(model.log_likelihood(model.point(TRUTH)), expected, rtol=1e-12)

    null = read_null(["S_peak = 0"], model)
    found = likelihood_ratio(model, null.plane, null.full, seed=0)
    theta = theta_of(model, found.full.x)
    np.testing.assert_allclose([theta[name] for name in TRUTH], list(TRUTH.values()), rtol=1e-5)
    np.testing.assert_allclose(found.full.log_likelihood, expected, rtol=1e-9)
    # without the peak the best flat norm holds all photons
    flat = np.asarray(sky.templates["flat"])[: model.pixels.n_fit]
    alone = flat * mean.sum() / flat.sum()
    np.testing.assert_allclose(found.ts, 2 * np.sum(mean * np.log(mean / alone)), rtol=1e-6)


def test_the_profile_of_expected_counts_is_the_median_expectation(asimov: Path, tiny: Path) -> None:
    """Highest at the truth, and as low at the ends of its interval as on half of 400 Poisson skies, fitted by hand."""
    model = SkyModel(tiny / "smooth.toml", Dataset.open(asimov / "sky_0000.toml"))
    found = profile(model, read_quantity("S_peak", model), seed=0, points=10)
    np.testing.assert_allclose(found.value, TRUTH["S_peak"], rtol=1e-5)
    sky = model.sky(model.point(dict.fromkeys(TRUTH, 1.0)))
    maps = np.stack([np.asarray(sky.templates[name])[: model.pixels.n_fit] for name in ("flat", "peak")])
    truth = np.array(list(TRUTH.values()))

    def best(counts: np.ndarray, peak: tuple[float, float]) -> tuple[float, float]:
        """The highest log-likelihood, less a constant, with the norm of the peak between two values; and that norm."""

        def loss(norms: np.ndarray) -> tuple[float, np.ndarray]:
            mean = norms @ maps
            return float(np.sum(mean - counts * np.log(mean))), maps @ (1.0 - counts / mean)

        start, options = [truth[0], np.clip(truth[1], *peak)], {"ftol": 1e-14, "gtol": 1e-7}
        there = minimize(loss, start, jac=True, bounds=[(0.5, 6.0), peak], method="L-BFGS-B", options=options)
        return -float(there.fun), float(there.x[1])

    roots = np.empty((400, 2))
    for row, counts in zip(roots, np.random.default_rng(1).poisson(truth @ maps, (400, maps.shape[1])), strict=True):
        free, at = best(counts, (0.0, 9.0))
        for side, end in enumerate(found.interval(0.95)):
            assert end is not None
            row[side] = np.sign(end - at) * np.sqrt(max(2.0 * (free - best(counts, (end, end))[0]), 0.0))
    # the median of 400 has an error of 0.063; the ends are where the root is 1.96
    np.testing.assert_allclose(np.median(roots, axis=0), [-1.96, 1.96], atol=0.2)


def test_the_reference_and_the_compiled_likelihood_agree_on_fractions(asimov: Path, tiny: Path) -> None:
    dataset = Dataset.open(asimov / "sky_0000.toml")
    values = [
        np.asarray(SkyModel(tiny / "smooth.toml", dataset, backend=backend).pixel_log_likelihood(theta))
        for backend in ("numba", "reference")
        for theta in [SkyModel(tiny / "smooth.toml", dataset).point(TRUTH | {"S_flat": 1.0})]
    ]
    np.testing.assert_allclose(*values, rtol=1e-12)


def test_a_fit_of_expected_counts_has_the_truth_at_its_mode(asimov: Path, tiny: Path) -> None:
    sky = str(asimov / "sky_0000.toml")
    assert main(["fit", "smooth.toml", "--data", sky, "--method", "laplace", "--out", "fit", "--quiet"]) == 0
    summary = json.loads((tiny / "fit" / "summary.json").read_text())
    for name, value in TRUTH.items():
        entry = summary["parameters"][name]
        assert abs(entry["mean"] - value) < entry["sd"]
    assert summary["predictive_checks"].startswith("not done: the counts are expected ones")


def test_point_sources_have_no_likelihood_of_expected_counts(asimov: Path, capsys: Capture) -> None:
    capsys.readouterr()
    told = refusal(capsys, "fit", "model.toml", "--data", str(asimov / "sky_0000.toml"), "--out", "fit")
    assert "the counts are expected ones (Asimov data), and point sources ('sources') have no likelihood of" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--asimov: the likelihood of point sources ('sources') is of whole photons"),
        (["--sources"], "asimov and sources exclude each other"),
    ],
)
def test_what_has_no_expected_counts(more: list[str], message: str, tiny: Path, capsys: Capture) -> None:
    words = ["simulate", "model.toml", "--data", "sky", "--params", "point.json", "--asimov", "--out", "a", *more]
    assert message in refusal(capsys, *words)
    assert not (tiny / "a").exists()


def test_fractions_that_are_no_expected_counts_are_refused(asimov: Path) -> None:
    manifest = asimov / "sky_0000.toml"
    manifest.write_text(manifest.read_text().replace("expected = true", ""))
    with pytest.raises(InputError, match="counts must be whole numbers"):
        Dataset.open(manifest)


def test_a_plan_of_fractions() -> None:
    counts: Any = np.array([0.5, 3.2, 0.0])
    plan = PixelPlan.build(counts, np.zeros(3, dtype=int), 1, fractions=True)
    assert plan.max_count == 4
    np.testing.assert_allclose(plan.log_factorial, gammaln(counts + 1))
    whole = PixelPlan.build(np.array([1.0, 2.0]), np.zeros(2, dtype=int), 1, fractions=True)
    assert whole.counts.dtype == np.int64
    with pytest.raises(InputError, match=r"counts of pixel 1: expected at least 0, got -0\.5"):
        PixelPlan.build(np.array([1.0, -0.5]), np.zeros(2, dtype=int), 1, fractions=True)
    with pytest.raises(InputError, match="counts of pixel 0: expected a finite number, got nan"):
        PixelPlan.build(np.array([np.nan, 1.0]), np.zeros(2, dtype=int), 1, fractions=True)


def test_photons_have_the_identity_that_they_had_before_there_were_expected_counts(asimov: Path, tiny: Path) -> None:
    """What was begun before the key `expected` goes on after it; expected counts are told apart."""
    spec = read_model(tiny / "smooth.toml")
    photons = data_identity(Dataset.open(tiny / "sky"), spec)["manifest"]["counts"]
    expected = data_identity(Dataset.open(asimov / "sky_0000.toml"), spec)["manifest"]["counts"]
    assert "expected" not in photons
    assert expected["expected"] is True
