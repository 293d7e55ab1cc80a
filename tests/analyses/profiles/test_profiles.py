"""Intervals and limits from simulated statistics against closed forms, and the files that a profile leaves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from gammasky.analyses.profiles import observed
from gammasky.analyses.profiles.likelihood import ProfileLikelihood
from gammasky.analyses.profiles.limits import SimulatedStatistics, _excluded_from, _Tails, limits
from gammasky.analyses.profiles.observed import grid_of
from gammasky.analyses.profiles.task import ScanSky, scanned
from gammasky.distributed.table import read_rows
from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import SAME_HEIGHT, Maximum
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.infer.maximum.profile import Profile

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
SIZE = 20_000
VALUES = np.linspace(0.0, 5.0, 51)


def ts(x: Any, s: Any) -> Any:
    """The statistic of a measurement x ~ N(s, 1) of a signal s >= 0: the textbook case of Feldman & Cousins."""
    return (x - s) ** 2 - (x - np.maximum(x, 0.0)) ** 2


def bounded_gaussian(values: np.ndarray, n_none: int) -> SimulatedStatistics:
    even = np.tile(norm.ppf((np.arange(SIZE) + 0.5) / SIZE), (len(values), 1))  # a normal distribution without noise
    draws = np.random.default_rng(1).permuted(even, axis=1)
    x, none = values[:, None] + draws, draws[0, :n_none, None]
    own, of_none = ts(x, values[:, None]), ts(none, values[None])
    return SimulatedStatistics(values, own, np.maximum(x, 0.0), of_none, np.maximum(none[:, 0], 0.0))


@pytest.fixture(scope="module")
def skies() -> SimulatedStatistics:
    return bounded_gaussian(VALUES, 1000)


def critical(s: float) -> float:
    """The quantile 0.95 of the statistic, from the normal distribution: what is accepted lies around s."""

    def covered(c: float) -> float:
        root = np.sqrt(c)
        lowest = s - root if root <= s else (s * s - c) / (2 * s)
        return float(norm.cdf(root) - norm.cdf(lowest - s)) - 0.95

    return float(brentq(covered, 1e-6, 20.0))


@pytest.mark.parametrize("x", [-1.0, 0.0, 1.0, 2.0, 2.5])
def test_a_feldman_cousins_interval_is_that_of_a_gaussian(x: float, skies: SimulatedStatistics) -> None:
    best = max(x, 0.0)
    found = limits(skies, ts(x, VALUES), np.full(len(VALUES), best), 0.95).interval
    assert found is not None
    high = brentq(lambda s: ts(x, s) - critical(s), max(best, 1e-3), 7.0)
    np.testing.assert_allclose(found[1], high, atol=0.03)
    if ts(x, 1e-3) < critical(1e-3):
        assert found[0] is None  # the interval goes on to the end of what the signal can be
    else:
        np.testing.assert_allclose(found[0], brentq(lambda s: ts(x, s) - critical(s), 1e-3, best), atol=0.03)
    if x == 0.0:
        np.testing.assert_allclose(high, 1.96, atol=0.005)  # as in their table X


@pytest.mark.parametrize("n", [20, 50])
def test_critical_values_hold_their_level_with_few_skies(n: int) -> None:
    """Over many studies of n skies: of statistics that are uniform, the level of a critical value is itself."""
    own = np.random.default_rng(2).random((4000, n))
    none = np.zeros((1, len(own)))
    found = SimulatedStatistics(np.arange(4000.0), own, own, none, np.zeros(1))
    critical = limits(found, np.zeros(len(own)), np.zeros(len(own)), 0.95).critical
    assert critical.mean() == pytest.approx(0.95, abs=0.003)


def limit(x: float) -> float:
    """The CLs limit of a measurement, Phi(x - s) / Phi(x) = 0.05 (Read 2002)."""
    return float(brentq(lambda s: norm.cdf(x - s) / norm.cdf(x) - 0.05, 0.0, 8.0))


@pytest.mark.parametrize("x", [-1.0, 0.0, 1.5])
def test_a_cls_limit_is_that_of_a_gaussian(x: float) -> None:
    np.testing.assert_allclose(limits_of(bounded_gaussian(VALUES[::5], SIZE), x), limit(x), atol=0.02)


def limits_of(skies: SimulatedStatistics, x: float) -> float | None:
    """The CLs limit alone: expected ones of so many skies would take long."""
    q = np.where(max(x, 0.0) <= skies.values, ts(x, skies.values), 0.0)
    return _excluded_from(skies.values, _Tails(skies).cls(q), 0.05)


@pytest.mark.parametrize(("n", "some"), [(15, False), (60, True)])
def test_a_few_skies_exclude_nothing(n: int, some: bool, skies: SimulatedStatistics) -> None:
    """Among 15 skies none is as extreme one time in 16, which is more than 5 %.

    Among 60 it is one time in 61, and CLs at most 5 % where a third of the skies without a signal are as extreme: half
    of them are for x = 0, and for two thirds of all x so many are.
    """
    few = replace(skies, own=skies.own[:, :n], best_own=skies.best_own[:, :n])
    assert (limits_of(few, 0.0) is not None) == some
    expected = limits(few, ts(0.0, few.values), np.zeros(len(VALUES)), 0.95).expected
    assert expected is not None
    assert (expected["median"] is not None) == some


def test_expected_limits_are_those_of_skies_without_a_signal(skies: SimulatedStatistics) -> None:
    found = limits(skies, np.zeros(len(VALUES)), np.zeros(len(VALUES)), 0.95).expected
    assert found is not None
    for name, x in (("median", 0.0), ("low_68", norm.ppf(0.16)), ("high_68", norm.ppf(0.84))):
        np.testing.assert_allclose(found[name], limit(float(x)), atol=0.15, err_msg=name)


def test_a_limit_beyond_the_values_is_none() -> None:
    found = limits(bounded_gaussian(np.linspace(0.0, 1.0, 5), 100), np.zeros(5), np.full(5, 0.5), 0.95)
    assert found.expected is not None
    assert (found.upper, found.interval, found.expected["median"]) == (None, (None, None), None)


def gaussian_profile(best: float, values: np.ndarray, below: np.ndarray | None = None) -> Profile:
    """The profile of a norm that is measured as `best` with an error of 1, or one of another shape."""
    top, plane = Maximum(0.0, np.zeros(1), np.zeros(1), 1, 1), Plane.whole(np.array([[0.0, 1.0]]))
    quantity: Any = SimpleNamespace(name="S", scale=True, low=0.0, high=50.0)
    heights = -0.5 * (values - best) ** 2 if below is None else -below
    return Profile(quantity, plane, top, best, values, heights, np.zeros((len(values), 1)))


def test_a_norm_that_is_measured_well_has_an_interval() -> None:
    """Skies are drawn where the profile changes, and without the norm, which is 20 standard deviations away."""
    values = grid_of(gaussian_profile(20.0, np.linspace(16.0, 24.0, 9)))
    np.testing.assert_allclose(values, np.append(0.0, np.linspace(20 - np.sqrt(10), 20 + np.sqrt(10), 8)), rtol=1e-12)
    found = limits(bounded_gaussian(values, 1000), ts(20.0, values), np.full(9, 20.0), 0.95)
    np.testing.assert_allclose(found.interval, [20 - 1.96, 20 + 1.96], atol=0.03)
    assert found.expected is None  # somewhere between 0 and 17


def test_no_value_needs_to_be_inside_an_interval() -> None:
    """Between two values at 5 standard deviations on both sides; values that are all too small have none of it."""
    values = np.array([0.0, 5.0, 15.0, 20.0])
    skies = bounded_gaussian(values, 100)
    found = limits(skies, ts(10.0, values), np.full(4, 10.0), 0.95)
    np.testing.assert_allclose(found.interval, [10 - 1.96, 10 + 1.96], atol=0.05)
    assert limits(skies, ts(30.0, values), np.full(4, 30.0), 0.95).interval is None
    below = replace(skies, values=values + 40)
    assert limits(below, ts(30.0, values + 40), np.full(4, 30.0), 0.95).interval is None


def test_an_interval_holds_both_of_two_maxima() -> None:
    values = np.linspace(0.0, 10.0, 6)
    own = np.tile(np.linspace(0.0, 5.0, 400), (6, 1))  # a critical value of 4.75 everywhere
    skies = SimulatedStatistics(values, own, np.zeros_like(own), np.zeros((50, 6)), np.zeros(50))
    found = limits(skies, np.array([16.0, 1.0, 9.0, 0.0, 9.0, 16.0]), np.full(6, 6.0), 0.95)
    root = np.sqrt(4.75)
    np.testing.assert_allclose(found.interval, [2 * (4 - root) / 3, 6 + 2 * root / 3], rtol=2e-3)


def test_the_values_of_a_norm_that_may_be_zero_begin_there() -> None:
    """At equal steps of the signed root, also past a dip between two maxima, and evenly where nothing falls."""
    near = grid_of(gaussian_profile(0.5, np.linspace(0.0, 4.5, 19)))
    np.testing.assert_allclose(near, np.linspace(0.0, 0.5 + np.sqrt(10), 9), rtol=1e-5)
    values = np.linspace(0.0, 8.0, 17)
    flat = grid_of(gaussian_profile(0.0, values, np.zeros(17)))
    np.testing.assert_allclose(flat, np.linspace(0.0, 8.0, 9), rtol=1e-9)
    twice = grid_of(gaussian_profile(2.0, values, np.minimum((values - 2) ** 2, (values - 6) ** 2 + 0.5)))
    assert (np.diff(twice) > 0).all()
    assert (twice > 4).sum() >= 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_statistics_that_are_not_finite_are_refused(bad: float, skies: SimulatedStatistics) -> None:
    """With NaN nothing is as large, and everything is excluded."""
    of_sky, best = ts(1.0, VALUES), np.ones(len(VALUES))
    with pytest.raises(InputError, match=r"statistics of the observed sky: expected finite numbers, 1 of 102 are not"):
        limits(skies, np.where(VALUES == 0, bad, of_sky), best, 0.95)
    own = skies.own.copy()
    own[3, 4] = bad
    with pytest.raises(InputError, match=r"statistics of the simulated skies: expected finite numbers, 1 of"):
        limits(replace(skies, own=own), of_sky, best, 0.95)


@pytest.fixture(scope="module")
def study(even_files: Path) -> ProfileLikelihood:
    names = {"model": str(even_files / "model.toml"), "data": str(even_files / "sky")}
    return ProfileLikelihood(**names, of="Sps", skies=3, points=6, level=0.6, seed=1)


@pytest.fixture(scope="module")
def done(study: ProfileLikelihood, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A profile that is finished, and its folder; not to be written to."""
    folder = tmp_path_factory.mktemp("profile") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gammasky.analyses.profiles.observed.GRID", 3)
        return folder, study.run(folder, address=None, quiet=True)


def test_the_numbers_of_a_profile_are_in_its_files(done: tuple[Path, Any]) -> None:
    folder, result = done
    found = json.loads((folder / "profile.json").read_text())
    assert found["best"] == pytest.approx(0.0, abs=1e-12)
    assert found["upper_limit"] == result.profile.upper_limit(0.6) > 0
    assert len(found["grid"]) == len(found["limits"]["critical"]) == 3
    assert found["grid"][0] == 0.0
    for name in ("profile.csv", "profile.png", "report.html", "profile.md"):
        assert (folder / name).stat().st_size > 100
    digests = {row["observation"] for row in read_rows(folder / "skies")}
    assert len(digests) == len(read_rows(folder / "skies")) > 1  # of each sky its own
    assert "Feldman-Cousins" in (folder / "report.html").read_text()
    assert "lies at the lower end of what Sps can be" in (folder / "profile.md").read_text()


def test_another_number_at_the_end_of_its_prior_is_named(done: tuple[Path, Any]) -> None:
    result = done[1]
    assert not any("end of the prior of" in told for told in result.warnings())
    best = result.profile.best
    y = best.y.copy()
    y[result.model.latent.slots["S_flat"].start] = 1.0
    at_end = replace(result, profile=replace(result.profile, best=replace(best, y=y, x=y)))
    assert any("The maximum lies at the end of the prior of S_flat:" in told for told in at_end.warnings())


def test_the_observed_sky_is_climbed_like_every_other(
    done: tuple[Path, Any], study: ProfileLikelihood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only the climbs of the profile have found is said, and does not count: skies have fewer."""
    result = done[1]
    before = observed.known(study, result.model, result.profile.quantity, done[0])
    assert before is not None
    assert before.statistics is not None
    assert before.statistics.higher < SAME_HEIGHT
    place, value = before.places[1], before.values[1]
    again, best = scanned(result.model, result.profile.quantity, [value], [place], study.seed)
    assert (before.statistics.ts[1], before.statistics.best[1]) == (again.ts[0], best)
    lucky = replace(before.profile.best, log_likelihood=before.profile.best.log_likelihood + 3.0)
    luckier = replace(before, profile=replace(before.profile, best=lucky), statistics=None)
    monkeypatch.setattr(observed, "profile", lambda *_: luckier.profile)
    monkeypatch.setattr(observed, "grid_of", lambda _: before.values)
    monkeypatch.setattr(observed, "held_at", lambda *_: (None, before.places.copy()))
    found = observed.climbed(study, result.model, result.profile.quantity, tmp_path)
    found = observed.compared(study, result.model, found, tmp_path)
    assert found.statistics is not None
    np.testing.assert_array_equal(found.statistics.ts, before.statistics.ts)
    kept = observed.known(study, result.model, result.profile.quantity, tmp_path)
    assert kept is not None
    assert kept.statistics is not None
    assert kept.statistics.higher == found.statistics.higher > 2.9
    lucky_result = replace(result, higher=3.0)
    told = lucky_result.warnings()
    assert any(text.startswith("The climbs of the profile came 3.00 nat higher") for text in told)
    assert lucky_result.summary()["higher"] == 3.0


def test_finished_skies_are_not_done_again(
    done: tuple[Path, Any], study: ProfileLikelihood, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = done

    def never(*_: Any) -> None:
        raise AssertionError("a sky was done again")

    monkeypatch.setattr(ScanSky, "__call__", never)
    again = study.run(folder, address=None, quiet=True)
    assert again.summary() == before.summary()


def test_the_folder_of_another_profile_is_refused(
    done: tuple[Path, Any], study: ProfileLikelihood, tmp_path: Path
) -> None:
    folder, _ = done
    with pytest.raises(InputError, match='holds another profile: of was "Sps", is "S_flat"'):
        replace(study, of="S_flat").run(folder, address=None, quiet=True)
    shutil.copytree(study.data, tmp_path / "sky")
    np.save(tmp_path / "sky" / "counts.npy", np.load(tmp_path / "sky" / "counts.npy") + 1)
    with pytest.raises(InputError, match="holds another profile: data"):
        replace(study, data=str(tmp_path / "sky")).run(folder, address=None, quiet=True)


def test_a_folder_of_other_climbs_is_refused(done: tuple[Path, Any], study: ProfileLikelihood, tmp_path: Path) -> None:
    """One that an older version has begun, whose file may lack what is needed now."""
    out = tmp_path / "out"
    out.mkdir()
    content = json.loads((done[0] / "observed.json").read_text())
    del content["identity"]["climbs"], content["statistics"]
    (out / "observed.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"holds another profile: climbs was null, is \d; choose another folder"):
        study.run(out, address=None, quiet=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"skies": 10, "level": 0.95}, r"`skies`: 10 cannot tell a level of 0.95, .* ask for `skies=20` at least"),
        ({"level": 1.0}, r"`level`: expected a number between 0.5 and 1, got 1"),
        ({"points": 3}, r"`points`: expected a whole number of at least 6, got 3"),
        ({"simulator": "photon"}, "unknown simulator 'photon'; did you mean 'photons'"),
    ],
)
def test_numbers_that_cannot_be(changed: dict[str, Any], message: str, study: ProfileLikelihood) -> None:
    with pytest.raises(InputError, match=message):
        replace(study, **changed)


def test_skies_at_values_of_what_is_no_parameter_are_refused(study: ProfileLikelihood, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`skies`: 'flux\[sources\]' is no parameter of its own"):
        replace(study, of="flux[sources]").run(tmp_path / "out", address=None, quiet=True)
    assert not (tmp_path / "out").exists()
