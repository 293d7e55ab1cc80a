"""Every method goes on where it was cut, to the last bit; fits that diverge, and fits from several starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.emulator import emulation, sampling
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages import auto as methods_auto
from gammasky.engine.infer.svi import State, VariationalFit
from gammasky.engine.model import SkyModel
from tests.engine.infer.emulator import toys

pytestmark = pytest.mark.usefixtures("compiled_fast")
SHORT = {
    "svi": Settings(method="svi", emulator=False, guide="mvn", steps=60, particles=4, starts=2),
    "auto": Settings(method="auto", chains=2, warmup=60, draws=100),  # which is emulator and then nuts
}


def test_every_method_is_here() -> None:
    assert {*SHORT, "laplace", "emulator", "nuts"} == set(METHODS)  # laplace is one piece of work


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods_auto, "LOOK_EVERY", 50)
    few = {"FIRST_STEPS": 100, "ROUND_STEPS": 100, "LAST_STEPS": 100, "FIRST_POOL": 512, "POOL": 512, "MOST_ROUNDS": 2}
    for name, value in {**few, "MOST_TESTS": 2, "TESTED": 2, "ITERATIONS": 10, "MOST_ITERATIONS": 10}.items():
        monkeypatch.setattr(emulation, name, value)
    monkeypatch.setattr(sampling, "N_TEMPERATURES", 10)


STRIDES = {"auto": 25}  # a fit goes on from the last phase that ended, and phases are of many pieces


class Stop(Exception):
    """Stands for a machine that goes down."""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["svi", "auto"])
def test_resume_is_bit_for_bit(
    method: str, small_model: SkyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut again and again, each time after a few more pieces of work: so in every stage of `auto`."""
    model: Any = small_model if method == "svi" else toys.banana()  # which compiles in a fraction of the time
    whole = fit(model, SHORT[method], n_draws=200)
    stage, resume, cuts = METHODS[method].stage(SHORT[method].resolved()), False, 0
    advance = stage.advance
    pieces = [0]

    def fails(self: Any) -> None:
        pieces[0] += 1
        if pieces[0] == 3 + STRIDES.get(method, 2) * cuts:
            raise Stop
        advance(self)

    monkeypatch.setattr(stage, "advance", fails)
    while True:
        pieces[0] = 0
        try:
            cut = fit(model, SHORT[method], n_draws=200, folder=tmp_path, checkpoint_seconds=0.0, resume=resume)
            break
        except Stop:
            resume, cuts = True, cuts + 1
    assert cuts >= 1
    np.testing.assert_array_equal(cut.z, whole.z)
    np.testing.assert_array_equal(cut.log_likelihood, whole.log_likelihood)
    np.testing.assert_array_equal(cut.elbo, whole.elbo)
    timeless = [{k: v for k, v in found.diagnostics.items() if k != "spent"} for found in (cut, whole)]
    assert timeless[0] == timeless[1]
    assert cut.verdict == whole.verdict


@pytest.mark.slow
def test_a_diverging_fit_keeps_its_last_good_checkpoint(
    small_model: SkyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = VariationalFit.advance

    def thrown_out(self: VariationalFit, state: State, n_steps: int) -> tuple[State, Any]:
        new, elbo = advance(self, state, n_steps)
        far = 100.0 * (int(new["step"]) > 3)
        return {**new, "guide": jax.tree.map(lambda leaf: leaf + far, new["guide"])}, elbo

    monkeypatch.setattr(VariationalFit, "advance", thrown_out)
    with pytest.raises(DivergedFitError, match=r"diverged by step .*; start again with a lower learning rate"):
        fit(small_model, SHORT["svi"], folder=tmp_path, checkpoint_seconds=0.0)
    with np.load(tmp_path / CHECKPOINT) as kept:
        assert 1 <= kept["svi_0_elbo"].size <= 3
        assert np.isfinite(kept["svi_0_elbo"]).all()
    monkeypatch.setattr(VariationalFit, "advance", advance)
    assert fit(small_model, SHORT["svi"], n_draws=200, folder=tmp_path, resume=True).elbo.shape == (60,)


@pytest.mark.slow
def test_of_several_starts_the_best_goes_on(small_model: SkyModel) -> None:
    result = fit(small_model, SHORT["svi"], n_draws=200)
    assert result.status == "stopped"  # 60 steps are too few to call an ELBO flat
    assert result.elbo.shape == (60,)
    assert result.diagnostics["gradients"] == (60 + 6) * 4
