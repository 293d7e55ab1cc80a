"""The calibration study: what its members depend on, resuming, growing, posterior SBC."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses import programs
from gammasky.analyses.calibration import run as module
from gammasky.analyses.calibration.report import check_folder, write_report
from gammasky.analyses.calibration.run import (
    Calibration,
    FitSky,
    quantities,
    run_calibration,
    simulate_skies,
    values_of,
)
from gammasky.distributed.campaign import status
from gammasky.distributed.member import Result
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.errors import InputError
from gammasky.engine.infer.godambe import Godambe
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.sky import DeltaPSF
from gammasky.engine.sky.dataset import Dataset
from tests.fits import posterior_of

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
METHOD = Settings(method="laplace")
NAMES = ("S_flat", "Sps", "mix[flat]", "mix[peak]", "PS fraction (all)")


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "N_DRAWS", 100)


@pytest.fixture
def study(tiny: Path) -> Calibration:
    return Calibration(str(tiny / "model.toml"), str(tiny / "sky"), skies=3, method=METHOD, seed=1)


@pytest.fixture(scope="module")
def posterior(tiny_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(posterior_of(tmp_path_factory.mktemp("posterior") / "posterior.nc", tiny_model))


@pytest.fixture
def fitted(desk_at: Callable[..., Any]) -> Callable[[Calibration, int], Result]:
    return lambda study, number: FitSky(study)({"sky": number}, desk_at())


def files(folder: Path) -> list[Path]:
    return sorted((folder / "members").iterdir())


Fitted = Callable[[Calibration, int], Result]


def test_studies_of_one_structure_share_compiled_programs(
    study: Calibration, fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a sky's fit does not depend on how many there are."""
    shelf: dict[str, Any] = {}
    monkeypatch.setattr(programs, "_shelf", shelf)
    first = fitted(study, 0)
    (kept,) = shelf.values()
    sizes = {key: program._cache_size() for key, program in kept.items()}
    assert sum(sizes.values()) >= 2
    np.testing.assert_array_equal(fitted(replace(study, skies=5), 0).arrays["draws"], first.arrays["draws"])
    assert list(shelf.values()) == [kept]
    assert {key: program._cache_size() for key, program in kept.items()} == sizes


def test_skies_do_not_depend_on_how_many_there_are(study: Calibration) -> None:
    few, many = simulate_skies(study), simulate_skies(replace(study, skies=9))
    np.testing.assert_array_equal(few.truth, many.truth[:3])
    np.testing.assert_array_equal(few.counts, many.counts[:3])
    assert len(np.unique(many.truth[:, 0])) == 9
    assert few.observed is None
    other = simulate_skies(replace(study, seed=2))
    assert (other.truth != few.truth).all()


def test_truths_come_from_the_prior(study: Calibration) -> None:
    truth = module._truths(replace(study, skies=400), simulate_skies(study).model)
    assert abs(truth.mean()) < 4 / np.sqrt(truth.size)
    assert truth.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * truth.size))


def test_scenarios(study: Calibration) -> None:
    """Photons with and without the PSF, for simulation and likelihood alike."""
    Path(study.data, "dataset.toml").write_text(
        Path(study.data, "dataset.toml").read_text().replace('"delta"', '"gaussian", sigma_deg = 3.0')
    )
    skies = {name: simulate_skies(replace(study, scenario=name)) for name in module.SCENARIOS}
    assert skies["photons-delta"].model.dataset.psf == DeltaPSF()
    assert skies["photons"].model.dataset.psf != DeltaPSF()
    for found in skies.values():
        assert found.counts.shape == (3, found.model.pixels.n_fit)
        np.testing.assert_array_equal(found.truth, skies["likelihood"].truth)
        for number in range(3):
            np.testing.assert_array_equal(found.model_of(number).pixels.counts, found.counts[number])
    assert (skies["photons"].counts != skies["photons-delta"].counts).any()
    assert (skies["likelihood"].counts != skies["photons"].counts).any()


def test_quantities(study: Calibration) -> None:
    skies = simulate_skies(study)
    assert tuple(quantities(skies.model)) == NAMES
    values = values_of(skies.model, skies.truth)
    theta = skies.model.parameters(skies.truth[1])
    np.testing.assert_allclose(values[1, :4], [theta["S_flat"], theta["Sps"], *theta["mix"]])
    np.testing.assert_allclose(values[1, 4], theta["Sps"] / (theta["Sps"] + theta["S_flat"]))


def test_result(study: Calibration, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_calibration(study, InlineRunner(), tmp_path / "study")
    assert capsys.readouterr().err.splitlines()[-1] == "gammasky: study: 3 of 3 done"
    assert result.names == NAMES
    assert result.members["draws"].shape == (3, 100, 5)
    skies = simulate_skies(study)
    np.testing.assert_array_equal(result.members["truth"], values_of(skies.model, skies.truth))
    assert len(files(tmp_path / "study")) == status(tmp_path / "study").done == 3
    assert (result.members["seconds"] > 0).all()
    assert len(np.unique(result.members["elbo"])) == 3  # each sky has its own counts


def test_skies_side_by_side(study: Calibration, tmp_path: Path) -> None:
    """To the last bit the draws of skies one after the other; a study begun in one way goes on in the other."""
    alone = run_calibration(study, InlineRunner(), tmp_path / "alone")
    begun = run_calibration(replace(study, skies=2), InlineRunner(2), tmp_path / "lanes")
    lanes = run_calibration(study, InlineRunner(3), tmp_path / "lanes")
    for name in ("truth", "draws", "elbo"):
        np.testing.assert_array_equal(lanes.members[name], alone.members[name])
        np.testing.assert_array_equal(begun.members[name], alone.members[name][:2])


@pytest.mark.slow
def test_a_failed_member_is_named_and_the_others_are_kept(
    study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    fit = module.fit

    def fails(model: SkyModel, settings: Settings, **options: Any) -> Any:
        if settings.seed == 2:
            raise ValueError("no luck")
        return fit(model, settings, **options)

    monkeypatch.setattr(module, "fit", fails)
    text = r"^sky 2: ValueError: no luck \(1 of 3 fits failed, see .*failed\); the same command tries those again$"
    with pytest.raises(InputError, match=text):
        run_calibration(study, InlineRunner(), folder)
    assert len(files(folder)) == 2
    assert 'raise ValueError("no luck")' in json.loads(next((folder / "failed").iterdir()).read_text())["traceback"]
    kept = {path: path.stat().st_mtime_ns for path in files(folder)}
    monkeypatch.setattr(module, "fit", fit)
    run_calibration(study, InlineRunner(), folder)
    assert len(files(folder)) == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_slow_methods_have_time(study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit of a fit goes by its estimate, which chains raise."""
    costs: list[float] = []

    def noted(_folder: Path, _task: Any, members: Any, *_: Any, **_options: Any) -> None:
        costs.extend(member.cost for member in members)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_campaign", noted)
    for method in (Settings(method="laplace"), Settings(method="nuts", draws=1_000_000)):
        with pytest.raises(KeyboardInterrupt):
            run_calibration(replace(study, method=method, skies=2), InlineRunner(), tmp_path)
    assert 1.0 < costs[0] == costs[1] < 0.1 * costs[2]


def test_other_settings_are_other_members(study: Calibration, posterior: str) -> None:
    model = simulate_skies(study).model
    others = [
        replace(study, seed=2),
        replace(study, scenario="photons"),
        replace(study, method=Settings(method="svi", emulator=False, steps=5)),
        replace(study, posterior=posterior),
    ]
    found = [module.identity(other, model) for other in (study, *others)]
    assert all(found[i] != found[j] for i in range(5) for j in range(i))
    assert module.identity(replace(study, skies=30), model) == found[0]
    np.save(Path(study.data) / "counts.npy", np.load(Path(study.data) / "counts.npy") + 1)
    assert module.identity(study, simulate_skies(study).model)["data"] != found[0]["data"]


def test_posterior_sbc(study: Calibration, posterior: str, tmp_path: Path) -> None:
    """Truths are draws of the posterior, and the observed counts join each fit."""
    near = replace(study, posterior=posterior)
    skies = simulate_skies(near)
    assert np.abs(skies.truth).max() < 0.6
    pixels = skies.model.pixels
    np.testing.assert_array_equal(skies.observed, Dataset.open(study.data).counts[0, pixels.index[: pixels.n_fit]])
    result = run_calibration(near, InlineRunner(), tmp_path / "study")
    theta = skies.model.parameters(skies.truth[0])
    both = skies.model_of(0)
    one, two = (both.with_counts(counts) for counts in (skies.counts[0], skies.observed))
    total = float(one.log_likelihood(theta)) + float(two.log_likelihood(theta))
    assert float(both.log_likelihood(theta)) == pytest.approx(total, rel=1e-12)
    assert result.members["elbo"][0] < 1.5 * total / 2  # of both skies, not of one
    assert result.members["draws"].shape == (3, 100, 5)


def spoiled(study: Calibration, old: str, new: str) -> Calibration:
    path = Path(study.model)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return study


@pytest.mark.parametrize(
    ("old", "new"),
    [("S_flat", "S_even"), ("high = 9.0", "high = 4.0"), ("breaks = [10.0]", "breaks = [20.0]")],
    ids=["names", "priors", "fixed numbers"],
)
def test_a_posterior_of_another_model(old: str, new: str, study: Calibration, posterior: str, tmp_path: Path) -> None:
    other = spoiled(replace(study, posterior=posterior), old, new)
    with pytest.raises(InputError, match=r"posterior of another model .*, expected one of 'tiny' as it is now"):
        run_calibration(other, InlineRunner(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_posterior_of_another_sky(study: Calibration, posterior: str, tmp_path: Path) -> None:
    np.save(Path(study.data) / "counts.npy", np.load(Path(study.data) / "counts.npy") + 1)
    with pytest.raises(InputError, match="posterior of other data than 'tiny'"):
        run_calibration(replace(study, posterior=posterior), InlineRunner(), tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenario": "photon"}, "unknown scenario 'photon'; did you mean 'photons'"),
        ({"skies": 1}, "skies: expected a whole number of at least 2, got 1"),
        ({"skies": True}, "skies: expected a whole number of at least 2, got True"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed: expected a whole number of at least 0, got 0.5"),
        ({"method": replace(METHOD, seed=2**63 - 2), "skies": 3}, "seed: expected a whole number from 0 to"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Calibration(**options)


def test_report(study: Calibration, tmp_path: Path) -> None:
    result = run_calibration(study, InlineRunner(), tmp_path / "study")
    text = write_report(tmp_path, [result])
    assert text.startswith("## likelihood\n\n| parameter | 50 % |")
    assert (tmp_path / "coverage.md").read_text() == text
    assert all((tmp_path / name).is_file() for name in ("calibration.json", "pp.png", "ranks_likelihood.png"))
    check_folder(tmp_path, [study])
    check_folder(tmp_path, [replace(study, skies=99)])
    check_folder(tmp_path, [study, replace(study, scenario="photons")])
    with pytest.raises(InputError, match="holds other scenarios too, ask for them again: likelihood"):
        check_folder(tmp_path, [replace(study, scenario="photons")])
    for other in (replace(study, seed=3), replace(study, reweight=True), replace(study, data="demo")):
        with pytest.raises(InputError, match="holds a calibration with other settings; choose another folder"):
            check_folder(tmp_path, [other])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"studies": [1]}', '{"studies": 3}', "{}", "\xff\xfe"])
def test_a_damaged_report_is_told(text: str, study: Calibration, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"calibration\.json: damaged; remove it"):
        check_folder(tmp_path, [study])


def test_the_task_travels_without_its_skies(study: Calibration, desk_at: Callable[..., Any]) -> None:
    task = FitSky(study)
    task({"sky": 0}, desk_at())
    assert task._kept
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert copy._kept == {}


@pytest.mark.slow
def test_reweighted_draws_are_draws_of_the_same_fit(
    study: Calibration, fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many, some more than once, and moved towards the posterior; the two are different members."""
    monkeypatch.setattr(module, "N_WEIGHTED", 400)
    rough = replace(
        study, method=Settings(method="svi", emulator=False, guide="diagonal", steps=1, particles=2, learning_rate=0.5)
    )
    plain, weighted = (fitted(replace(rough, reweight=reweight), 0) for reweight in (False, True))
    assert plain.arrays["draws"].shape == weighted.arrays["draws"].shape == (100, 5)
    np.testing.assert_array_equal(plain.arrays["truth"], weighted.arrays["truth"])
    assert len(np.unique(weighted.arrays["draws"], axis=0)) < 100
    assert float(weighted.row["log_z"]) > float(plain.row["elbo"])
    model = simulate_skies(study).model
    assert module.identity(rough, model) != module.identity(replace(rough, reweight=True), model)


def test_posterior_sbc_keeps_the_psf(study: Calibration, posterior: str) -> None:
    with pytest.raises(InputError, match="'photons-delta': takes the PSF away from a sky that has one; use 'photons'"):
        replace(study, posterior=posterior, scenario="photons-delta")


def test_relative_paths_are_those_of_the_driver(study: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's current folder may be another."""
    monkeypatch.chdir(Path(study.model).parent)
    near = replace(study, model="model.toml", data="sky", skies=2)
    assert module._absolute(near) == replace(study, skies=2)
    named = Calibration(model="fiducial", data="demo", posterior="point.json", data_dir="sky")
    here = Path.cwd()
    assert module._absolute(named) == replace(named, posterior=str(here / "point.json"), data_dir=str(here / "sky"))


def test_honest_errors_are_ranked_beside_the_plain_ones(
    study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a PSF that spreads photons, in both scenarios of photons; the plain draws are those of a study without."""
    monkeypatch.setattr(module, "N_DRAWS", 200)
    manifest = Path(study.data, "dataset.toml")
    manifest.write_text(manifest.read_text().replace('"delta"', '"gaussian", sigma_deg = 3.0'))
    photons = replace(study, scenario="photons")
    honest = replace(photons, honest=15)
    plain = run_calibration(photons, InlineRunner(), tmp_path / "plain")
    both = run_calibration(honest, InlineRunner(), tmp_path / "both")
    np.testing.assert_array_equal(both.members["draws"], plain.members["draws"])
    wider = both.members["honest"].std(axis=1) / both.members["draws"].std(axis=1)
    assert np.median(wider[:, 1]) > 1.02  # of the norm of the sources
    assert set(both.members["affine"]) <= {0.0, 1.0}
    (tmp_path / "report").mkdir()
    text = write_report(tmp_path / "report", [both])
    assert [line for line in text.splitlines() if line.startswith("##")] == ["## photons", "## photons, honest errors"]
    numbers = json.loads((tmp_path / "report" / "calibration.json").read_text())
    assert list(numbers["tables"]) == ["photons", "photons, honest errors"]
    assert numbers["affine"]["photons"] == both.members["affine"].sum()
    assert (tmp_path / "report" / "ranks_photons_honest_errors.png").is_file()
    with pytest.raises(InputError, match="holds a calibration with other settings"):
        check_folder(tmp_path / "report", [photons])


def test_an_older_report_is_of_a_study_without_honest_errors(study: Calibration, tmp_path: Path) -> None:
    write_report(tmp_path, [run_calibration(study, InlineRunner(), tmp_path / "study")])
    path = tmp_path / "calibration.json"
    numbers = json.loads(path.read_text())
    del numbers["studies"][0]["honest"]
    path.write_text(json.dumps(numbers))
    check_folder(tmp_path, [study])


def test_honest_errors_of_both_looks_near_the_observed_sky(study: Calibration, posterior: str, fitted: Fitted) -> None:
    near = replace(study, posterior=posterior, honest=15)
    found = fitted(near, 0)
    np.testing.assert_allclose(found.arrays["honest"], found.arrays["draws"], rtol=1e-6)  # no PSF: nothing is shared


def test_the_observed_sky_does_not_vary_when_truths_are_of_its_plain_posterior() -> None:
    """A normal model whose score varies twice as much as its likelihood says: the adjusted posterior has spread 1."""
    random, n = np.random.default_rng(4), 40_000
    root = np.array([[2.0, 0.0], [0.7, 0.5]])
    prior, curvature = np.eye(2), root @ root.T
    truth = random.standard_normal((n, 2)) @ np.linalg.cholesky(np.linalg.inv(prior + curvature)).T
    score = random.standard_normal((n, 2)) @ (np.sqrt(2.0) * root).T  # J = 2 H_L
    both = np.linalg.inv(prior + 2 * curvature)
    best = (score + truth @ curvature) @ both  # of the simulated sky and the posterior of the observed one, about 0
    found = module.near_observed(Godambe(np.zeros(2), 2 * curvature, 4 * curvature, prior, np.zeros(2), n))
    np.testing.assert_allclose(np.cov((best - truth).T), found.covariance, rtol=0.03, atol=0.002)
    spread = np.linalg.solve(found.stretch @ np.linalg.cholesky(both), (best - truth).T).std(axis=1)
    np.testing.assert_allclose(spread, 1.0, atol=0.015)


@pytest.mark.parametrize("near", [True, False])
def test_fits_to_the_observed_sky_too_take_its_score_as_given(
    near: bool, study: Calibration, posterior: str, fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Godambe] = []
    godambe, adjusted = module.godambe, module.adjusted

    def varying(*arguments: Any, **options: Any) -> Godambe:
        found = godambe(*arguments, **options)
        return replace(found, variability=2 * found.sensitivity)

    def noted(z: Any, log_likelihood: Any, found: Godambe, seed: int) -> Any:
        seen.append(found)
        return adjusted(z, log_likelihood, found, seed)

    monkeypatch.setattr(module, "godambe", varying)
    monkeypatch.setattr(module, "adjusted", noted)
    fitted(replace(study, posterior=posterior if near else None, honest=15), 0)
    np.testing.assert_allclose(seen[0].variability, (1.5 if near else 2.0) * seen[0].sensitivity, rtol=1e-12)


@pytest.mark.parametrize(("skies", "message"), [(0, "honest: expected a number of skies"), (9, "`skies`: expected at")])
def test_too_few_skies_for_honest_errors(skies: int, message: str, study: Calibration) -> None:
    with pytest.raises(InputError, match=message):
        simulate_skies(replace(study, honest=skies))
