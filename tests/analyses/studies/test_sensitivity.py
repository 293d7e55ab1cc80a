"""How strong a signal must be: the power of tests with a closed form, and a study of one from start to page."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, norm, poisson

from gammasky.analyses.nested.task import CompareSky
from gammasky.analyses.studies.power import Power, power
from gammasky.analyses.studies.run import run_study
from gammasky.analyses.studies.skies import stream
from gammasky.analyses.studies.study import Study, read_study
from gammasky.distributed.member import Result
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import LikelihoodSimulator
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")


def test_the_power_where_the_best_strength_is_normal() -> None:
    """A best strength of standard deviation 1 that may not be negative is found at z sigma with Phi(strength - z)."""

    def ts(strength: float, n: int) -> np.ndarray:
        return np.maximum(strength + norm.ppf((np.arange(n) + 0.5) / n), 0.0) ** 2

    strengths = np.arange(0.5, 6.1, 0.5)
    for sigma in (2.0, 3.0):
        found = power(ts(0.0, 99_999), {at: ts(at, 2000) for at in strengths}, sigma)
        np.testing.assert_allclose(found.ts_above, sigma**2, rtol=3e-3)
        np.testing.assert_allclose(found.share[1:], norm.cdf(strengths - sigma), atol=3e-3)
        assert (found.strengths[0], found.share[0]) == (0.0, norm.sf(sigma))
        np.testing.assert_allclose(found.strength_at(0.5), sigma, atol=0.06)
        np.testing.assert_allclose(found.strength_at(0.95)[0], sigma + 1.645, atol=0.1)


def test_the_power_of_one_pixel() -> None:
    """With 4 counts expected without a signal, a p-value of at most 0.0228 needs 9 counts."""
    background, alpha, counts = 4.0, norm.sf(2.0), np.arange(60)
    least = int(np.flatnonzero(poisson.sf(counts - 1, background) <= alpha)[0])

    def ts(strength: float) -> np.ndarray:
        n = np.repeat(counts, np.round(1e6 * poisson.pmf(counts, background + strength)).astype(int))
        return np.where(n > background, 2.0 * (n * np.log(np.maximum(n, 1) / background) - (n - background)), 0.0)

    found = power(ts(0.0), {at: ts(at) for at in (2.0, 5.0, 12.0)}, 2.0)
    assert least == 9
    np.testing.assert_allclose(found.share[1:], poisson.sf(least - 1, [6.0, 9.0, 16.0]), atol=1e-5)


def test_few_skies_of_the_null_find_what_is_above_all_of_them() -> None:
    """43 skies give p-values of 1/44 = 0.0227 at least, which is below that of 2 sigma."""
    found = power(np.arange(43.0), {1.0: [42.0, 42.5, 3.0, 100.0]}, 2.0)
    assert (found.ts_above, found.share[1]) == (42.0, 0.5)
    # each end of the interval leaves 16 % of the binomial distribution beyond 2 of 4
    np.testing.assert_allclose((binom.sf(1, 4, found.low[1]), binom.cdf(2, 4, found.high[1])), 0.16, rtol=1e-9)


def test_the_strength_of_a_share_is_on_a_curve_that_never_falls() -> None:
    strengths, shares = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.6, 0.4, 0.9])
    found = Power(2.0, 4.0, strengths, shares, shares - 0.1, np.minimum(shares + 0.1, 1.0))
    np.testing.assert_allclose(found.strength_at(0.5)[:2], (1.0, 0.8))
    np.testing.assert_allclose(found.strength_at(0.7)[0], 2.5)  # halfway between 0.5 and 0.9
    assert found.strength_at(0.95) == (None, pytest.approx(2.875), None)  # of 0, 0.6, 0.6, 1


MODEL = """
name = "one number"
region = { latitude_min = 2.0, radius_max = 20.0, mask = "spot", exposure_regions = 1 }
[parameters]
S_flat = { prior = "uniform", low = 2.0, high = 6.0, unit = "counts/pixel" }
[[components]]
name = "smooth"
norm = "S_flat"
template = "flat"
"""


@pytest.fixture(scope="module")
def files(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set and a model of one number; not to be written to."""
    folder = tmp_path_factory.mktemp("flat")
    shutil.copytree(tiny_files, folder, dirs_exist_ok=True)
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    return folder


def a_study(files: Path, **changes: Any) -> Study:
    settings = {
        "model": str(files / "model.toml"), "data": str(files / "sky"), "null": "S_flat = 2",
        "strengths": [2.1, 3.0], "skies": 3, "null_skies": 6, "sigmas": [1.0], "seed": 1,
    }  # fmt: skip
    return Study(name="flat", asks="How bright?", cost="seconds", sensitivity=settings | changes)


def lines(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8") as file:
        return [{name: float(value or "nan") for name, value in line.items()} for line in csv.DictReader(file)]


def test_a_study_from_start_to_page(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TS of every sky is that of its sum of counts, which is all that a model of one number knows of it."""
    report, failed = run_study(a_study(files), tmp_path / "out", InlineRunner(), quiet=True)
    assert failed == 0
    model = SkyModel(files / "model.toml", Dataset.open(files / "sky"))
    simulator, n = LikelihoodSimulator(model), model.pixels.n_fit

    def ts(strength: float, skies: int) -> np.ndarray:
        drawn = simulator.draw({"S_flat": np.array(strength)}, n=skies, seed=stream(1, strength))
        mean = drawn[:, :n].sum(axis=1) / n
        best = np.maximum(mean, 2.0)
        return 2.0 * n * (mean * np.log(best / 2.0) - (best - 2.0))

    null, signals = ts(2.0, 6), {strength: ts(strength, 3) for strength in (2.1, 3.0)}
    found = lines(report.with_name("study.csv"))
    assert [line["strength"] for line in found] == [2.1, 3.0]
    for line in found:
        at = signals[line["strength"]]
        np.testing.assert_allclose(line["ts_q50"], np.median(at), atol=2e-3)
        p = (1 + (null >= at[:, None]).sum(axis=1)) / 7
        np.testing.assert_allclose(line["found_1_sigma"], (p <= norm.sf(1.0)).mean())
    assert found[1]["found_1_sigma"] == 1.0
    half, most = lines(report.with_name("thresholds.csv"))
    np.testing.assert_allclose(half["ts_above"], null.max(), atol=2e-3)
    assert 2.0 < half["strength"] < most["strength"] <= 3.0
    page = report.read_text(encoding="utf-8")
    for part in ("How bright?", "6 skies of the null, 3 of each of 2 strengths", "S_flat [counts/pixel]",
                 "in 95 % of skies from", "data:image/png"):  # fmt: skip
        assert part in page
    assert report.with_name("power.png").is_file()

    calls: list[int] = []
    compared = CompareSky.__call__

    def counted(self: CompareSky, spec: dict[str, Any], desk: Any) -> Any:
        calls.append(spec["sky"])
        return compared(self, spec, desk)

    monkeypatch.setattr(CompareSky, "__call__", counted)
    more = a_study(files, strengths=[2.1, 2.5, 3.0], skies=4)  # a sky of each, and four of another strength
    run_study(more, tmp_path / "out", InlineRunner(), quiet=True)
    assert sorted(calls) == [0, 1, 2, 3, 3, 3]
    assert [line["skies"] for line in lines(report.with_name("study.csv"))] == [4.0, 4.0, 4.0]
    np.testing.assert_allclose(lines(report.with_name("thresholds.csv"))[0]["ts_above"], half["ts_above"], rtol=1e-12)


def test_what_the_signal_alone_has_is_as_the_study_says(
    even_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skies are drawn at the shape that is given, else at medians of priors, and else at the fitted null."""
    text = (even_files / "model.toml").read_text(encoding="utf-8")
    text = text.replace("slopes = [4.0, 1.5], breaks = [10.0]", 'slopes = ["n1", 1.5], breaks = ["sb"]')
    text = text.replace("high = 6.0", "high = 3.0")  # of S_flat, whose best value is then this
    priors = 'n1 = { prior = "uniform", low = 3.0, high = 6.0 }\nsb = { prior = "uniform", low = 4.0, high = 12.0 }\n'
    shutil.copytree(even_files / "sky", tmp_path / "sky")
    (tmp_path / "model.toml").write_text(text.replace("[parameters]\n", f"[parameters]\n{priors}"), encoding="utf-8")
    model = SkyModel(tmp_path / "model.toml", Dataset.open(tmp_path / "sky"))
    drawn: list[dict[str, Any]] = []

    def noted(self: CompareSky, *_: Any) -> Result:
        if self.signal is not None:
            drawn.append(theta_of(model, np.array(self.signal)))
        return Result({}, {"ts": float(self.signal is not None)})

    monkeypatch.setattr(CompareSky, "__call__", noted)
    settings: dict[str, Any] = {"null": "Sps = 0", "strengths": [5.0], "skies": 1}
    study = a_study(tmp_path, **settings, shape={"n1": 3.5})
    report, _ = run_study(study, tmp_path / "out", InlineRunner(), quiet=True)
    observed = json.loads((tmp_path / "out" / "observed.json").read_text(encoding="utf-8"))
    fitted = theta_of(model, np.array(observed["null"]["x"]))
    (point,) = drawn
    np.testing.assert_allclose([point[name] for name in ("Sps", "n1", "sb")], [5.0, 3.5, 8.0], rtol=1e-9)
    for name in ("S_flat", "mix"):
        np.testing.assert_allclose(point[name], fitted[name], rtol=1e-12)
    page = report.read_text(encoding="utf-8")
    assert "in the signal, n1 = 3.5, sb = 8." in page
    assert "lies at the end of the prior of S_flat: another prior" in page
    other = a_study(tmp_path, **settings, shape={"n1": 4.0})
    with pytest.raises(InputError, match=r"shape\.n1 was 3\.5, is 4\.0|shape was"):
        run_study(other, tmp_path / "out", InlineRunner(), quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"null_skies": 5}, r"`null_skies`: 5 give no p-value below 1/6 = 0.167; .* ask for `null_skies=6`"),
        ({"null": "S_flat = 9"}, r"null 'S_flat = 9': not nested, the prior of 'S_flat' goes from 2 to 6"),
        ({"null": "S_flt = 2"}, r"unknown parameter 'S_flt'; did you mean 'S_flat'"),
        ({"strengths": [2.0, 3.0]}, r"strengths: expected values of 'S_flat' above 2, its value under the null, got 2"),
        ({"strengths": [3.0, 7.0]}, r"parameter 'S_flat': expected a value inside its prior, 2 to 6, got 7"),
        ({"shape": {"gamma": 1.0}}, r"unknown parameter 'gamma'"),
        ({"shape": {"S_flat": 1.0}}, r"shape: 'S_flat' has a meaning under the null"),
        ({"simulator": "photon"}, r"unknown simulator 'photon'; did you mean 'photons'"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], message: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run_study(a_study(files, **changes), tmp_path / "out", InlineRunner(), quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("null", ["mix = [0.5, 0.5]", "S_flat = Sps"])
def test_a_null_of_more_than_one_number(null: str, tiny_files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected one number that is set to a value, such as 'S_gce = 0'"):
        run_study(a_study(tiny_files, null=null), tmp_path / "out", InlineRunner(), quiet=True)
    assert not (tmp_path / "out").exists()


def test_number_of_skies_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = read_study("sensitivity", n_skies=7, data="demo")
    assert study.sensitivity is not None
    assert (study.sensitivity.skies, study.sensitivity.data) == (7, "demo")
