"""Method auto: the emulator where it is reliable; chains, and the evidence by a bridge to the copy, where it is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.emulator import emulation, sampling, training
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.nuts import NutsStage
from gammasky.engine.infer.stages.stage import Note
from gammasky.engine.infer.verdict import Verdict
from tests.engine.infer.emulator import toys

CHAINS = {"chains": 4, "warmup": 200, "draws": 750}


@pytest.fixture(scope="module")
def model() -> toys.Toy:
    """Its posterior is N(0, 1) in every parameter, log Z is 1.5; what is compiled for one test does for all."""
    return toys.prior()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four parameters are learnt in few steps, and checked as little as can be."""
    few = {"FIRST_STEPS": 100, "ROUND_STEPS": 100, "LAST_STEPS": 100, "FIRST": 256, "FIRST_POOL": 512, "POOL": 512}
    for name, value in {**few, "MOST_ROUNDS": 1, "MOST_TESTS": 1, "TESTED": 4, "ITERATIONS": 10}.items():
        monkeypatch.setattr(emulation, name, value)
    monkeypatch.setattr(emulation, "MOST_ITERATIONS", 10)
    monkeypatch.setattr(sampling, "N_TEMPERATURES", 30)


def by_auto(model: toys.Toy) -> Fit:
    return fit(model, Settings(method="auto", **CHAINS))


def right(found: Fit) -> None:
    """Whether these are draws of N(0, 1) in every parameter, by chains that have mixed."""
    assert found.verdict.level == "reliable"
    assert found.chains == CHAINS["chains"]
    ess = min(found.diagnostics["ess_bulk_min"], found.diagnostics["ess_tail_min"])
    assert np.abs(found.z.mean(axis=0)).max() < 4 / np.sqrt(ess)
    assert np.abs(found.z.std(axis=0) - 1).max() < 4 / np.sqrt(ess)


@pytest.mark.slow
def test_an_emulator_that_is_reliable_is_the_result(model: toys.Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Emulator, "verdict", lambda *_, **__: Verdict("reliable", ("fine",), {}))
    found, alone = by_auto(model), fit(model, Settings())
    np.testing.assert_array_equal(found.z, alone.z)
    assert (found.method, found.verdict, found.chains) == ("auto", alone.verdict, alone.chains)
    ours, theirs = ({**of.diagnostics, "method": "", "spent": {}} for of in (found, alone))
    assert ours == {**theirs, "result": "emulator"}


@pytest.mark.slow
def test_chains_take_the_place_of_a_copy_that_is_spoiled(model: toys.Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is bent after every training, so that it lacks a half of the posterior; log Z is right all the same."""
    toys.spoil_copies(monkeypatch, 3.0)
    found = by_auto(model)
    right(found)
    fine, trouble, compared, *_ = found.verdict.reasons
    assert fine == "4 chains from dispersed starts agree"
    assert trouble.startswith("the emulator alone would not do: ")
    assert compared.startswith("chains and emulator ")
    assert 0 < found.diagnostics["log_z_error"] < 1.0
    assert abs(found.diagnostics["log_z"] - 1.5) < 4 * found.diagnostics["log_z_error"]
    assert [stage["method"] for stage in found.stages] == ["emulator", "nuts"]
    assert found.diagnostics["result"] == "nuts"
    assert found.diagnostics["gradients"] == sum(stage["gradients"] for stage in found.stages)


@pytest.fixture
def _runaway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training does not converge."""
    train = training.train

    def runs_away(*arguments: Any) -> Iterator[Any]:
        for copy in train(*arguments):
            yield copy._replace(network={**copy.network, "b": copy.network["b"] * np.nan})

    monkeypatch.setattr(training, "train", runs_away)


@pytest.mark.slow
@pytest.mark.usefixtures("_runaway")
def test_training_that_does_not_converge_is_told(model: toys.Toy) -> None:
    with pytest.raises(
        DivergedFitError, match="the copy ran away while the likelihood was learnt; use `method='nuts'`"
    ):
        fit(model, Settings())
    found = by_auto(model)
    right(found)
    assert found.verdict.reasons[1:] == (
        "the emulator alone would not do: the copy ran away while the likelihood was learnt",
        "log Z is not known: chains and copy do not tell it",
    )
    assert "log_z" not in found.diagnostics


@pytest.mark.slow
@pytest.mark.usefixtures("_runaway")
def test_a_signal_while_chains_begin_keeps_a_checkpoint(
    model: toys.Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = NutsStage.begin

    def interrupted(self: NutsStage, note: Note) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        begin(self, note)

    settings = Settings(method="auto", **CHAINS)
    with monkeypatch.context() as patch:
        patch.setattr(NutsStage, "begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(model, settings, folder=tmp_path)
    assert (tmp_path / CHECKPOINT).is_file()
    resumed = fit(model, settings, folder=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.z, by_auto(model).z)
