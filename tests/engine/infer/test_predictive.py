"""Posterior predictive checks: calibrated for skies of the model itself, and tiny p-values for others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import stats

from gammasky.commands.fit import run_fit
from gammasky.engine.errors import InputError
from gammasky.engine.infer import outputs
from gammasky.engine.infer.derived import expected_counts
from gammasky.engine.infer.figures import predictive as figure
from gammasky.engine.infer.figures import save_figures
from gammasky.engine.infer.predictive import PredictiveCheck, predictive_check
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast")


@pytest.fixture(scope="module")
def theta(tiny_model: SkyModel, tiny_files: Path) -> Any:
    return tiny_model.point(json.loads((tiny_files / "point.json").read_text()))


@pytest.fixture(scope="module")
def z(tiny_model: SkyModel) -> np.ndarray:
    """Draws that stand for a narrow posterior around the prior's median."""
    return 0.02 * np.random.default_rng(2).normal(size=(300, tiny_model.n_latent))


def skies_at(model: SkyModel, z: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Skies of the model's own at draws of the posterior: exactly what a replica is."""
    simulator = PhotonSimulator(model)
    chosen = np.random.default_rng(seed + 100).integers(len(z), size=n)
    draws = [simulator.draw(model.parameters(z[i]), seed=seed, first=1000 + i) for i in chosen]
    return np.concatenate(draws)[:, : model.pixels.n_fit]


@pytest.fixture(scope="module")
def check(tiny_model: SkyModel, z: np.ndarray) -> PredictiveCheck:
    counts = skies_at(tiny_model, z, 1, seed=40)[0]
    return predictive_check(tiny_model.with_counts(counts), z, n=60, seed=1)


def test_expected_counts(tiny_model: SkyModel, theta: Any) -> None:
    """The mean of the fitted pixels: norms times templates of mean 1 over the region."""
    pixels, dataset = tiny_model.pixels, tiny_model.dataset
    peak = dataset.template("peak")[0, pixels.index]
    shape = peak / peak.mean()
    expected = 2.0 * (0.7 + 0.3 * shape) + 3.0 * shape
    found = tiny_model.expectation.counts(tiny_model.sky(theta), tiny_model.arrays["sky"])
    np.testing.assert_allclose(sum(found.values())[: pixels.n_fit], expected[: pixels.n_fit], rtol=2e-3)
    skies = PhotonSimulator(tiny_model).draw(theta, n=400, seed=3)[:, : pixels.n_fit].sum(axis=1)
    assert abs(skies.mean() - expected[: pixels.n_fit].sum()) < 4 * skies.std() / 20


def test_bands_cover_the_region_once(check: PredictiveCheck, tiny_model: SkyModel) -> None:
    whole, *bands = check.bands
    assert whole.inside.all()
    assert whole.counts == check.counts.sum()
    radial = [band for band in bands if band.coordinate == "radius"]
    latitude = [band for band in bands if band.coordinate == "latitude"]
    assert (len(radial), len(latitude)) == (5, 6)
    lat = tiny_model.pixels.lat_deg[: tiny_model.pixels.n_fit]
    for kind in (radial, latitude):
        np.testing.assert_array_equal(np.sum([band.inside for band in kind], axis=0), np.ones(lat.size))
        assert all(band.counts == check.counts[band.inside].sum() for band in kind)
    for band in latitude:
        assert lat[band.inside].min() >= band.low - 1e-9
        assert lat[band.inside].max() <= band.high + 1e-9
        assert len(set(lat[band.inside] >= 0)) == 1  # one hemisphere
    assert whole.expected == check.replicas.sum(axis=1).mean()


@pytest.mark.slow
def test_p_values_are_uniform_for_skies_of_the_model(tiny_model: SkyModel, z: np.ndarray) -> None:
    skies = skies_at(tiny_model, z, 30, seed=5)
    found = [predictive_check(tiny_model.with_counts(sky), z, n=40, seed=9).bands[0] for sky in skies]
    for values in ([band.p_counts for band in found], [band.p_dispersion for band in found]):
        assert min(values) > 0
        assert max(values) <= 1
        # one set of replicas serves all skies, so the comparison is a little wider than independent ones
        assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert 0.2 < np.mean([band.p_counts for band in found]) < 0.8


def test_thirty_per_cent_more_counts_are_noticed(tiny_model: SkyModel, z: np.ndarray) -> None:
    """In skies whose photons, added up pixel by pixel, are just what is expected."""
    expected = expected_counts(tiny_model, np.zeros((1, tiny_model.n_latent)))[0]
    for share, limit in ((1.0, (0.1, 1.0)), (1.3, (0.0, 0.03)), (0.6, (0.0, 0.03))):
        sky = np.diff(np.floor(share * np.cumsum(expected)).astype(int), prepend=0)
        band = predictive_check(tiny_model.with_counts(sky), z, n=200).bands[0]
        assert band.counts == pytest.approx(share * band.expected, rel=0.1)
        assert limit[0] < band.p_counts < limit[1]


def test_clumps_are_noticed_by_the_dispersion(tiny_model: SkyModel, z: np.ndarray) -> None:
    """The same number of photons, in fewer pixels."""
    sky = skies_at(tiny_model, z, 1, seed=6)[0]
    even = np.full(sky.size, sky.sum() // sky.size)
    clumped = even.copy()
    clumped[::4] += 3 * even[::4]
    clumped[1::4] = clumped[2::4] = clumped[3::4] = 0
    assert predictive_check(tiny_model.with_counts(clumped), z, n=60).bands[0].p_dispersion < 0.02


def test_replicas_do_not_depend_on_how_many(tiny_model: SkyModel, z: np.ndarray) -> None:
    first, again = (predictive_check(tiny_model, z, n=20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.replicas, again.replicas)
    assert first.as_dict() == again.as_dict()
    more = predictive_check(tiny_model, z, n=27, seed=3)
    np.testing.assert_array_equal(more.replicas[:20], first.replicas)
    assert json.loads(json.dumps(first.as_dict()))["replicas"] == 20
    other = predictive_check(tiny_model, z, n=20, seed=4)
    assert (other.replicas != first.replicas).any()
    assert len(predictive_check(tiny_model, z[:3], n=20).replicas) == 20  # draws may repeat


def test_histogram_and_residual(check: PredictiveCheck) -> None:
    k, seen, replicas = check.histogram()
    for number in (0, 3, int(k[-1])):
        assert seen[number] == (check.counts == number).sum()
        np.testing.assert_array_equal(replicas[:, number], (check.replicas == number).sum(axis=1))
    assert seen.sum() == check.counts.size
    pixel = 17
    column = check.replicas[:, pixel].astype(float)
    sd = np.sqrt(((column - column.mean()) ** 2).mean())
    assert check.residual[pixel] == pytest.approx((check.counts[pixel] - column.mean()) / sd)
    constant = replace(check, replicas=np.broadcast_to(check.counts, check.replicas.shape))
    assert np.isnan(constant.residual).all()


@pytest.mark.parametrize(("n", "draws"), [(19, 5), (0, 5), (50, 0)])
def test_too_little_to_check_with(n: int, draws: int, tiny_model: SkyModel) -> None:
    with pytest.raises(InputError, match=rf"at least 20 replicas and one draw, got {n} and {draws}"):
        predictive_check(tiny_model, np.zeros((draws, tiny_model.n_latent)), n=n)


def test_pixels_without_expected_counts(tiny: Path) -> None:
    """A template of one hemisphere leaves the other dark, which the likelihood allows where nothing was seen."""
    sky = Dataset.open(tiny / "sky")
    text = '"uniform", low = 0.5, high = 6.0 }\n[[components]]\nname = "north"\nnorm = "S"\n'
    region = "region = { latitude_min = 2.0, radius_max = 15.0, exposure_regions = 1 }"
    text = f'name = "half"\n{region}\n[parameters]\nS = {{ prior = {text}'
    (tiny / "half.toml").write_text(text + 'template = { map = "flat", hemisphere = "north" }\n')
    model = SkyModel("half.toml", sky)
    lat = model.pixels.lat_deg[: model.pixels.n_fit]
    counts = np.where(lat > 0, np.random.default_rng(1).poisson(2.0, lat.size), 0)
    check = predictive_check(model.with_counts(counts), np.zeros((5, 1)), n=20)
    for band in check.bands:
        assert 0 < band.p_dispersion < 1
        assert 0 < band.p_counts <= 1
    south = [band for band in check.bands if band.coordinate == "latitude" and band.high < 0]
    assert all((band.counts, band.expected, band.p_counts, band.p_dispersion) == (0, 0.0, 1.0, 0.5) for band in south)


def test_figure(check: PredictiveCheck, tiny_model: SkyModel, z: np.ndarray, tmp_path: Path) -> None:
    model = tiny_model.with_counts(check.counts)
    drawn = figure.draw(model, check)
    histogram, _, p_values = drawn.axes[:3]
    by_label = {line.get_label(): line for line in p_values.get_lines()}
    rows = by_label["counts (two-sided)"]
    np.testing.assert_array_equal(rows.get_xdata(), [band.p_counts for band in check.bands])
    labels = [label.get_text() for label in p_values.get_yticklabels()]
    assert labels[0] == "whole region"
    assert len(labels) == 12
    dots = next(line for line in histogram.get_lines() if line.get_label() == "counts")
    assert dots.get_ydata()[2] == (check.counts == 2).sum()
    from gammasky.engine.infer.derived import derive, predict

    derived = derive(model, z)
    written = save_figures(model, predict(model, z, derived), derived, np.array([]), tmp_path, check)
    path = next(path for path in written if path.name == "predictive.png")
    assert imread(path)[..., :3].std() > 0.05


@pytest.mark.parametrize("largest", [0, 1, 30, 3000])
def test_figure_of_any_counts(largest: int, check: PredictiveCheck, tiny_model: SkyModel) -> None:
    counts = np.zeros_like(check.counts)
    counts[5] = largest
    replicas = np.tile(counts, (25, 1))
    replicas[0] = 0
    figure.draw(tiny_model, replace(check, counts=counts, replicas=replicas)).draw_without_rendering()


@pytest.mark.slow
def test_a_negative_mean_is_told_in_the_summary(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The likelihood of NPTF bears a negative smooth norm, as with an over-subtracted template; photons do not."""
    text = (tiny / "model.toml").read_text()
    text = text.replace('"uniform", low = 0.5, high = 6.0', '"normal", mean = -0.4, sd = 0.01')
    text = text.replace('template = { mix = ["flat", "peak"], fractions = "mix" }', 'template = "flat"')
    text = text.replace("low = 0.1", "low = 3.0")
    text = text.replace('mix = { prior = "dirichlet" }\n', "")
    text += '[[components]]\nname = "base"\nnorm = 0.38\n'
    text += 'template = { mix = ["flat", "peak"], fractions = [0.95, 0.05] }\n'
    (tiny / "model.toml").write_text(text)
    np.save("sky/counts.npy", np.zeros(3072, dtype=int))
    model = SkyModel("model.toml", Dataset.open("sky"))
    theta = model.point({"S_flat": -0.4, "Sps": 3.0})
    assert np.asarray(model.expectation.smooth_mean(model.sky(theta), model.pixels.n_fit)).min() < 0
    assert np.isfinite(float(model.log_likelihood(theta)))
    run_fit("model.toml", "sky", None, tiny / "out", settings=Settings(method="laplace"), quiet=False)
    summary = json.loads((tiny / "out/summary.json").read_text())
    assert summary["predictive_checks"].startswith("not done: smooth mean: expected at least 0")
    assert "predictive checks not done: smooth mean" in capsys.readouterr().out
    assert not (tiny / "out/figures/predictive.png").exists()


def test_no_other_error_of_the_check_is_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: Any, **__: Any) -> None:
        raise RuntimeError("expected something else")

    monkeypatch.setattr("gammasky.engine.infer.predictive.predictive_check", check)
    with pytest.raises(RuntimeError, match="expected something else"):
        outputs._predictive_check(SimpleNamespace(pixels=SimpleNamespace(counts=np.zeros(1, int))), np.zeros((1, 1)), 0)  # type: ignore[arg-type]


def test_an_expectation_that_is_not_a_number_has_no_p_value() -> None:
    from gammasky.engine.infer.predictive import _band

    rng = np.random.default_rng(0)
    counts, replicas, expected = rng.poisson(3.0, 20), rng.poisson(3.0, (50, 20)), np.full((50, 20), 3.0)
    expected[:, 5] = 0.0  # a dark pixel adds nothing
    assert np.isfinite(_band("radius", 0.0, 1.0, np.ones(20, bool), counts, replicas, expected).p_dispersion)
    expected[7, 3] = np.nan
    assert np.isnan(_band("radius", 0.0, 1.0, np.ones(20, bool), counts, replicas, expected).p_dispersion)
