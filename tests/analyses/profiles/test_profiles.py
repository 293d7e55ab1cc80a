"""Intervals and limits from simulated statistics against closed forms, and the files that a profile leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from gammasky.analyses.profiles.likelihood import ProfileLikelihood
from gammasky.analyses.profiles.limits import SimulatedStatistics, _excluded_from, _Tails, limits
from gammasky.analyses.profiles.task import ScanSky
from gammasky.engine.errors import InputError

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
SIZE = 20_000
VALUES = np.linspace(0.0, 5.0, 51)


def ts(x: Any, s: Any) -> Any:
    """The statistic of a measurement x ~ N(s, 1) of a signal s >= 0: the textbook case of Feldman & Cousins."""
    return (x - s) ** 2 - (x - np.maximum(x, 0.0)) ** 2


def bounded_gaussian(values: np.ndarray, n_none: int) -> SimulatedStatistics:
    draws = np.random.default_rng(1).standard_normal((len(values), SIZE))
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
    found = limits(skies, ts(x, VALUES), best, 0.95).interval
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
    critical = limits(found, np.zeros(len(own)), 0.0, 0.95).critical
    assert critical.mean() == pytest.approx(0.95, abs=0.003)


def limit(x: float) -> float:
    """The CLs limit of a measurement, Phi(x - s) / Phi(x) = 0.05 (Read 2002)."""
    return float(brentq(lambda s: norm.cdf(x - s) / norm.cdf(x) - 0.05, 0.0, 8.0))


@pytest.mark.parametrize("x", [-1.0, 0.0, 1.5])
def test_a_cls_limit_is_that_of_a_gaussian(x: float) -> None:
    np.testing.assert_allclose(limits_of(bounded_gaussian(VALUES[::2], SIZE), x), limit(x), atol=0.06)


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
    assert (limits(few, ts(0.0, few.values), 0.0, 0.95).expected["median"] is not None) == some


def test_expected_limits_are_those_of_skies_without_a_signal(skies: SimulatedStatistics) -> None:
    found = limits(skies, np.zeros(len(VALUES)), 0.0, 0.95).expected
    for name, x in (("median", 0.0), ("low_68", norm.ppf(0.16)), ("high_68", norm.ppf(0.84))):
        np.testing.assert_allclose(found[name], limit(float(x)), atol=0.15, err_msg=name)


def test_a_limit_beyond_the_values_is_none() -> None:
    found = limits(bounded_gaussian(np.linspace(0.0, 1.0, 5), 100), np.zeros(5), 0.5, 0.95)
    assert (found.upper, found.interval, found.expected["median"]) == (None, (None, None), None)


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
    assert "Feldman-Cousins" in (folder / "report.html").read_text()
    assert "lies at the lower end of what Sps can be" in (folder / "profile.md").read_text()


def test_finished_skies_are_not_done_again(
    done: tuple[Path, Any], study: ProfileLikelihood, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = done

    def never(*_: Any) -> None:
        raise AssertionError("a sky was done again")

    monkeypatch.setattr(ScanSky, "__call__", never)
    again = study.run(folder, address=None, quiet=True)
    assert again.summary() == before.summary()


def test_the_folder_of_another_profile_is_refused(done: tuple[Path, Any], study: ProfileLikelihood) -> None:
    folder, _ = done
    with pytest.raises(InputError, match='holds another profile: of was "Sps", is "S_flat"'):
        replace(study, of="S_flat").run(folder, address=None, quiet=True)


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
