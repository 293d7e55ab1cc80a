"""Tests of nested models: p-values, resuming, growing, what is refused, and the files that are left."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, chi2

from gammasky.analyses import sky_study
from gammasky.analyses.ensemble import cost
from gammasky.analyses.nested import observed
from gammasky.analyses.nested import task as task_module
from gammasky.analyses.nested.nested import NestedTest
from gammasky.analyses.nested.report import write_report
from gammasky.analyses.nested.result import NestedResult
from gammasky.analyses.nested.statistics import chi_square, p_value, require_enough
from gammasky.analyses.nested.task import CompareSky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import SAME_HEIGHT, Maximum, theta_of
from gammasky.engine.infer.maximum.ends import ends_of
from gammasky.engine.infer.maximum.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from gammasky.engine.infer.maximum.null import read_null
from gammasky.engine.model.simulate import build_simulator

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")


def test_a_p_value_counts_skies_that_are_at_least_as_large() -> None:
    found = p_value(4.0, [0.0, 1.0, 4.0, 5.0, 9.0, 0.0, 0.0, 2.0, 3.0])
    assert (found.exceeding, found.skies, found.value) == (3, 9, 0.4)
    np.testing.assert_allclose(found.sigma, 0.2533471, rtol=1e-6)
    # each end of the interval leaves 16 % of the binomial distribution beyond what was seen
    np.testing.assert_allclose(binom.sf(2, 9, found.low), 0.16, rtol=1e-9)
    np.testing.assert_allclose(binom.cdf(3, 9, found.high), 0.16, rtol=1e-9)


def test_a_p_value_is_never_zero() -> None:
    none, every = p_value(7.0, np.zeros(199)), p_value(0.0, np.zeros(199))
    assert (none.value, none.low) == (1 / 200, 0.0)
    assert 0 < none.high < 0.01
    assert (every.value, every.high) == (1.0, 1.0)


def test_statistics_that_are_not_finite_are_refused() -> None:
    """With NaN as the observed one no sky is as large, and p the smallest that so many give."""
    with pytest.raises(InputError, match=r"of the observed sky: expected finite numbers, 1 of 1 are not: the"):
        p_value(np.nan, np.zeros(199))
    with pytest.raises(InputError, match=r"of the simulated skies: expected finite numbers, 2 of 4 are not"):
        p_value(1.0, [0.0, np.nan, 3.0, np.inf])


def test_chi_square_is_that_of_its_degrees() -> None:
    np.testing.assert_allclose(chi_square(3.841459, 1), 0.05, rtol=1e-6)
    np.testing.assert_allclose(chi_square(3.0, 2), chi2.sf(3.0, 2))


@pytest.mark.parametrize(
    ("skies", "smallest", "message"),
    [
        (200, 0.003, r"200 give no p-value below 1/201 = 0.00498; for 0.003 ask for `skies=333`"),
        (98, 0.01, r"98 give no p-value below 1/99 = 0.0101; for 0.01 ask for `skies=99`"),
        (10, 1.5, r"`smallest_p`: expected a number from 1e-09 to below 1, got 1.5"),
        (10, 1e-320, r"`smallest_p`: expected a number from 1e-09 to below 1, got 9.99989e-321"),
    ],
)
def test_too_few_skies_are_refused(skies: int, smallest: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_enough(skies, smallest)


def test_as_many_skies_as_are_needed_are_enough() -> None:
    require_enough(99, 0.01)
    require_enough(333, 0.003)
    require_enough(1, None)


@pytest.fixture(scope="module")
def study(even_files: Path) -> NestedTest:
    return NestedTest(str(even_files / "model.toml"), str(even_files / "sky"), null=("S_flat = 2",), skies=3, seed=1)


@pytest.fixture(scope="module")
def done(study: NestedTest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NestedResult]:
    """A test that is finished, and its folder; not to be written to."""
    folder = tmp_path_factory.mktemp("nested") / "out"
    return folder, study.run(folder, address=None, quiet=True)


def test_the_numbers_of_a_test_are_in_its_files(done: tuple[Path, NestedResult]) -> None:
    folder, result = done
    found = json.loads((folder / "test.json").read_text())
    assert found["ts"] == result.ts > 10
    assert (found["skies"], found["exceeding"], found["p"]) == (3, 0, 0.25)
    assert found["null"] == ["S_flat = 2"]
    np.testing.assert_allclose(found["ts"], 2 * (found["log_likelihood"] - found["log_likelihood_null"]))
    with (folder / "ts.csv").open() as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_array_equal([float(row["ts"]) for row in rows], result.simulated)
    page = (folder / "report.html").read_text()
    for text in ("S_flat = 2", "not the posterior", "1/4 is the smallest", "data:image/png"):
        assert text in page
    text = (folder / "test.md").read_text()
    assert f"| TS | {result.ts:,.2f} |" in text
    assert "| S_flat | 2 | fixed |" in text


def strict(path: Path) -> Any:
    """A JSON file as other programs read it, which know no NaN and no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path.name} holds {word}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_numbers_without_end_are_null_in_the_file(done: tuple[Path, NestedResult], tmp_path: Path) -> None:
    """Every sky has a TS of at least 0: p is 1, at minus infinity of a normal distribution."""
    even = replace(done[1], observed=replace(done[1].observed, full=done[1].observed.null))
    write_report(even, tmp_path)
    found = strict(tmp_path / "test.json")
    assert (found["p"], found["sigma"]) == (1.0, None)


def test_a_maximum_at_the_end_of_a_prior_is_said(done: tuple[Path, NestedResult]) -> None:
    """The sky has no sources, of which the prior wants 0.1 counts per pixel at least."""
    _, result = done
    (line,) = [line for line in result.maxima() if line["parameter"] == "Sps"]
    assert (line["model"], line["model_is"]) == (0.1, "lower end")
    assert any("The maximum of the model lies at the end of the prior of Sps:" in told for told in result.warnings())


def test_the_observed_sky_is_climbed_like_every_other(
    done: tuple[Path, NestedResult], study: NestedTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only more climbs have found is said, and does not count: skies of the null have no more than one round."""
    result = done[1]
    null = result.null
    again = likelihood_ratio(
        result.model, null.plane, null.full, study.seed, near=result.observed.null.y, loose=null.loose_axes
    )
    np.testing.assert_allclose(result.ts, again.ts, rtol=1e-6)
    assert result.higher < SAME_HEIGHT
    assert not any("Other climbs" in told for told in result.warnings())

    def luckier(*args: Any, near: Any = None, **options: Any) -> LikelihoodRatio:
        found = likelihood_ratio(*args, near=near, **options)
        if near is not None:
            return found
        return replace(found, full=replace(found.full, log_likelihood=found.full.log_likelihood + 3.0))

    monkeypatch.setattr(observed, "likelihood_ratio", luckier)
    lucky = observed.climbed(study, result.model, null, tmp_path)
    np.testing.assert_allclose(lucky.ratio.ts, result.ts, rtol=1e-6)
    assert observed.known(study, result.model, null, tmp_path).higher == lucky.higher > 2.9
    told = replace(result, higher=lucky.higher).warnings()
    assert any(text.startswith("Other climbs came 3.00 nat higher in the model, a TS larger by 6.00.") for text in told)


def test_a_share_of_zero_is_at_the_end_and_its_stick_is_not_named(
    done: tuple[Path, NestedResult],
) -> None:
    """A mixture is all of its first template: the share of the first is at its upper end, that of the second at 0."""
    _, result = done
    axis = result.model.latent.slots["mix"].start
    x = result.observed.full.x.copy()
    x[axis] = 1.0
    ends = ends_of(result.model, result.null.full, replace(result.observed.full, x=x, y=x))
    assert (ends["mix[flat]"], ends["mix[peak]"]) == ("upper end", "lower end")
    x[axis] = 0.4
    assert "mix[flat]" not in ends_of(result.model, result.null.full, replace(result.observed.full, x=x, y=x))


def test_a_sky_is_drawn_from_the_fitted_null_and_compared(
    done: tuple[Path, NestedResult], study: NestedTest, desk_at: Callable[..., Any]
) -> None:
    """What the task stores is the comparison of that sky, whichever process does it."""
    _, result = done
    truth = tuple(result.observed.null.y.tolist())
    task = pickle.loads(pickle.dumps(CompareSky(study, truth)))
    found = task({"sky": 2}, desk_at())
    assert found.row["ts"] == result.simulated[2]
    theta = theta_of(result.model, result.observed.null.x)
    np.testing.assert_allclose(theta["S_flat"], 2.0, rtol=1e-12)
    counts = build_simulator("likelihood", result.model).draw(theta, seed=1, first=2)[0]
    sky = result.model.with_counts(counts)
    assert found.row["observation"] == sky.pixels.digest
    for part, name in (("null", "log_likelihood_null"), ("full", "log_likelihood")):
        there = sky.log_likelihood(theta_of(sky, found.arrays[part]))
        np.testing.assert_allclose(there, found.row[name], rtol=1e-12)


def test_finished_skies_are_not_done_again_and_more_may_be_asked_for(
    done: tuple[Path, NestedResult], study: NestedTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = done
    shutil.copytree(folder, tmp_path / "out")
    calls: list[int] = []
    call = CompareSky.__call__

    def counted(self: CompareSky, spec: dict[str, Any], desk: Any) -> Any:
        calls.append(spec["sky"])
        return call(self, spec, desk)

    monkeypatch.setattr(CompareSky, "__call__", counted)
    same = study.run(tmp_path / "out", address=None, quiet=True)
    assert calls == []
    np.testing.assert_array_equal(same.simulated, before.simulated)
    more = replace(study, skies=4).run(tmp_path / "out", address=None, quiet=True)
    assert calls == [3]
    np.testing.assert_array_equal(more.simulated[:3], before.simulated)


def test_slow_models_have_time(
    done: tuple[Path, NestedResult], study: NestedTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit of a sky goes by how long its climbs take."""
    shutil.copytree(done[0], tmp_path / "out")
    costs: list[float] = []

    def noted(_folder: Path, _task: Any, members: Any, *_: Any, **_options: Any) -> None:
        costs.append(members[0].cost)
        raise KeyboardInterrupt

    monkeypatch.setattr(sky_study, "run_campaign", noted)
    for slower in (1.0, 1e6):
        monkeypatch.setattr(cost, "MODEL_SECONDS", slower * cost.MODEL_SECONDS)
        with pytest.raises(KeyboardInterrupt):
            study.run(tmp_path / "out", address=None, quiet=True)
    assert 1.0 < costs[0] < 1e-3 * costs[1]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"null": ("S_flat = 4",)}, "null was"),
        ({"seed": 2}, "seed was 1, is 2"),
        ({"simulator": "photons"}, 'simulator was "likelihood", is "photons"'),
    ],
)
def test_the_folder_of_another_test_is_refused(
    changed: dict[str, Any], what: str, done: tuple[Path, NestedResult], study: NestedTest
) -> None:
    folder, _ = done
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(InputError, match=f"holds another test: {what}"):
        replace(study, **changed).run(folder, address=None, quiet=True)
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_folder_of_other_data_or_of_other_climbs_is_refused(
    done: tuple[Path, NestedResult], study: NestedTest, tmp_path: Path
) -> None:
    shutil.copytree(study.data, tmp_path / "sky")
    np.save(tmp_path / "sky" / "counts.npy", np.load(tmp_path / "sky" / "counts.npy") + 1)
    with pytest.raises(InputError, match="holds another test: data"):
        replace(study, data=str(tmp_path / "sky")).run(done[0], address=None, quiet=True)
    older, out = json.loads((done[0] / "observed.json").read_text()), tmp_path / "out"
    del older["identity"]["climbs"]
    out.mkdir()
    (out / "observed.json").write_text(json.dumps(older))
    with pytest.raises(InputError, match=r"holds another test: climbs was null, is \d; choose another folder"):
        study.run(out, address=None, quiet=True)


def test_no_climb_begins_at_what_others_have_found_in_the_model(
    done: tuple[Path, NestedResult], study: NestedTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The null has no slope along what means nothing under it, so that its maximum keeps where the model's was."""
    model, began = done[1].model, []
    null = read_null(["without smooth"], model)
    assert null.loose == ("mix",)
    found = null.plane.nearest(np.full(model.n_latent, 0.123))

    def compared(*_: Any, near: Any = None, **_options: Any) -> LikelihoodRatio:
        began.append(near)
        highest = Maximum(-1.0, found, null.plane.points(found), 1, 1)
        return LikelihoodRatio(highest, highest)

    monkeypatch.setattr(observed, "likelihood_ratio", compared)
    for _ in range(2):
        observed.climbed(replace(study, null=("without smooth",)), model, null, tmp_path)
    first, second = (near for near in began if near is not None)
    np.testing.assert_array_equal(first, second)
    moved = first != found
    np.testing.assert_array_equal(np.flatnonzero(moved), null.loose_axes)


def test_skies_of_photons_are_of_the_null_too(study: NestedTest, tmp_path: Path) -> None:
    result = replace(study, simulator="photons", skies=1).run(tmp_path / "out", address=None, quiet=True)
    assert result.simulated.shape == (1,)
    assert 0.0 <= result.simulated[0] < 15.0


def test_an_interrupt_keeps_what_is_done(study: NestedTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = task_module.likelihood_ratio
    calls: list[int] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return call(*arguments, **options)

    monkeypatch.setattr(task_module, "likelihood_ratio", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path / "out", address=None, quiet=True)
    assert len(list((tmp_path / "out" / "skies" / "members").glob("*.npz"))) == 1
    result = study.run(tmp_path / "out", address=None, quiet=True)
    assert len(calls) == 4  # sky 0, sky 1 in vain, then 1 and 2
    assert len(result.simulated) == 3
