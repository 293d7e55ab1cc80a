"""The calibration study: what its members depend on, resuming, executors, posterior SBC."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.calibration import study as module
from gammasky.analyses.calibration.report import check_folder, write_report
from gammasky.analyses.calibration.study import (
    Calibration,
    FitSky,
    StudyResult,
    quantities,
    run_study,
    simulate_skies,
    values_of,
)
from gammasky.distributed.executor import MemberError, ProcessExecutor, SerialExecutor
from gammasky.engine.errors import InputError
from gammasky.engine.infer.posterior import write_posterior
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.sky import DeltaPSF
from gammasky.engine.sky.dataset import Dataset

METHOD = Settings(guide="diagonal", steps=5, particles=2)
NAMES = ("S_flat", "Sps", "mix[flat]", "mix[peak]", "PS fraction (all)")


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "N_DRAWS", 100)


@pytest.fixture
def study(tiny: Path) -> Calibration:
    return Calibration(str(tiny / "model.toml"), str(tiny / "sky"), skies=3, method=METHOD, seed=1)


@pytest.fixture(scope="module")
def posterior(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    model = SkyModel(tiny_files / "model.toml", Dataset.open(tiny_files / "sky"))
    z = 0.1 * np.random.default_rng(1).normal(size=(30, model.n_latent))
    path = tmp_path_factory.mktemp("posterior") / "posterior.nc"
    write_posterior(path, model, z, log_likelihood=np.zeros(30), log_guide=np.zeros(30), attributes={})
    return str(path)


class Counted:
    """Runs members in this process and notes which."""

    def __init__(self) -> None:
        self.members: list[int] = []

    def run(self, task: Callable[[Any], Any], members: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for index, result in SerialExecutor().run(task, members):
            self.members.append(members[index])
            yield index, result


def same(first: StudyResult, second: StudyResult) -> None:
    assert first.names == second.names
    for name in ("truth", "draws", "elbo", "converged"):
        np.testing.assert_array_equal(first.members[name], second.members[name])


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


def test_result(study: Calibration, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    result = run_study(study, SerialExecutor(), tmp_path / "members", progress=lambda *done: told.append(done))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert result.names == NAMES
    assert result.members["draws"].shape == (3, 100, 5)
    skies = simulate_skies(study)
    np.testing.assert_array_equal(result.members["truth"], values_of(skies.model, skies.truth))
    assert len(list((tmp_path / "members").iterdir())) == 3
    assert (result.members["seconds"] > 0).all()
    assert len(np.unique(result.members["elbo"])) == 3  # each sky has its own counts


def test_a_missing_member_alone_is_made_again(study: Calibration, tmp_path: Path) -> None:
    folder = tmp_path / "members"
    whole = run_study(study, Counted(), folder)
    files = sorted(folder.iterdir())
    kept = {path: path.read_bytes() for path in files}
    nothing = Counted()
    same(run_study(study, nothing, folder), whole)
    assert nothing.members == []
    files[1].unlink()
    files[2].write_bytes(kept[files[2]][:200])  # as good as missing
    again = Counted()
    same(run_study(study, again, folder), whole)
    assert len(again.members) == 2
    assert sorted(folder.iterdir()) == files
    assert files[0].read_bytes() == kept[files[0]]


@pytest.mark.slow
def test_members_do_not_depend_on_the_number_of_skies(study: Calibration, tmp_path: Path) -> None:
    few = run_study(study, SerialExecutor(), tmp_path / "few")
    counted = Counted()
    more = replace(study, skies=8)
    grown = run_study(more, counted, tmp_path / "few")
    assert counted.members == [3, 4, 5, 6, 7]
    same(replace(grown, members={name: values[:3] for name, values in grown.members.items()}), few)
    same(run_study(more, SerialExecutor(), tmp_path / "many"), grown)  # bit for bit, though brighter skies came


@pytest.mark.slow
def test_two_workers_give_the_same(study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # workers know nothing of fewer draws
    serial = run_study(study, SerialExecutor(), tmp_path / "serial")
    same(run_study(study, ProcessExecutor(2), tmp_path / "two"), serial)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "serial").iterdir()
    )


@pytest.mark.slow
@pytest.mark.parametrize("when", ["during a fit", "between fits"])
def test_ctrl_c_leaves_whole_members(
    when: str, study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_study(study, SerialExecutor(), tmp_path / "whole")
    name = "fit" if when == "during a fit" else "values_of"
    original, calls = getattr(module, name), []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == (2 if name == "fit" else 3):  # of the second member
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, SerialExecutor(), tmp_path / "cut")
    assert len(list((tmp_path / "cut").iterdir())) == 1
    monkeypatch.setattr(module, name, original)
    counted = Counted()
    same(run_study(study, counted, tmp_path / "cut"), whole)
    assert counted.members == [1, 2]


def test_a_failed_member_is_named_and_the_others_are_kept(
    study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = module.fit

    def fails(model: SkyModel, settings: Settings, **options: Any) -> Any:
        if settings.seed == 2:
            raise ValueError("no luck")
        return fit(model, settings, **options)

    monkeypatch.setattr(module, "fit", fails)
    with pytest.raises(MemberError, match="member 2: ValueError: no luck"):
        run_study(study, SerialExecutor(), tmp_path / "members")
    assert len(list((tmp_path / "members").iterdir())) == 2


def test_other_settings_are_other_members(study: Calibration, posterior: str) -> None:
    model = simulate_skies(study).model
    others = [
        replace(study, seed=2),
        replace(study, scenario="photons"),
        replace(study, method=replace(METHOD, steps=6)),
        replace(study, posterior=posterior),
    ]
    found = [module.identity(other, model) for other in (study, *others)]
    assert all(found[i] != found[j] for i in range(5) for j in range(i))
    assert module.identity(replace(study, skies=30), model) == found[0]


def test_posterior_sbc(study: Calibration, posterior: str, tmp_path: Path) -> None:
    """Truths are draws of the posterior, and the observed counts join each fit."""
    near = replace(study, posterior=posterior)
    skies = simulate_skies(near)
    assert np.abs(skies.truth).max() < 0.6
    pixels = skies.model.pixels
    np.testing.assert_array_equal(skies.observed, Dataset.open(study.data).counts[0, pixels.index[: pixels.n_fit]])
    result = run_study(near, SerialExecutor(), tmp_path / "members")
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
        run_study(other, SerialExecutor(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_posterior_of_another_sky(study: Calibration, posterior: str, tmp_path: Path) -> None:
    np.save(Path(study.data) / "counts.npy", np.load(Path(study.data) / "counts.npy") + 1)
    with pytest.raises(InputError, match="posterior of other data than 'tiny'"):
        run_study(replace(study, posterior=posterior), SerialExecutor(), tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenario": "photon"}, "unknown scenario 'photon'; did you mean 'photons'"),
        ({"skies": 1}, "skies: expected a whole number of at least 2, got 1"),
        ({"skies": True}, "skies: expected a whole number of at least 2, got True"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed: expected a whole number of at least 0, got 0.5"),
        ({"method": replace(METHOD, seed=2**63 - 2), "skies": 3}, "seed: expected a whole number of at most"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Calibration(**options)


def test_report(study: Calibration, tmp_path: Path) -> None:
    result = run_study(study, SerialExecutor(), tmp_path / "members")
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


def test_the_task_travels_without_its_skies(study: Calibration) -> None:
    import pickle

    task = FitSky(study)
    task(0)
    assert task._kept
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert copy._kept == {}


def test_reweighted_draws_are_draws_of_the_same_fit(study: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many, some more than once, and moved towards the posterior; the two are different members."""
    monkeypatch.setattr(module, "N_WEIGHTED", 400)
    rough = replace(study, method=replace(METHOD, steps=1, learning_rate=0.5))
    plain, weighted = (module.FitSky(replace(rough, reweight=reweight))(0) for reweight in (False, True))
    assert plain["draws"].shape == weighted["draws"].shape == (100, 5)
    np.testing.assert_array_equal(plain["truth"], weighted["truth"])
    assert len(np.unique(weighted["draws"], axis=0)) < 100
    assert weighted["log_z"] > plain["elbo"]
    model = simulate_skies(study).model
    assert module.identity(rough, model) != module.identity(replace(rough, reweight=True), model)


def test_posterior_sbc_keeps_the_psf(study: Calibration, posterior: str) -> None:
    with pytest.raises(InputError, match="'photons-delta': takes the PSF away from a sky that has one; use 'photons'"):
        replace(study, posterior=posterior, scenario="photons-delta")


def test_a_member_that_cannot_be_read_back_is_told(
    study: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Store, "load", lambda *_: None)
    with pytest.raises(InputError, match=r"\.npz: cannot be read back; run the same command again"):
        run_study(replace(study, skies=2), SerialExecutor(), tmp_path)
