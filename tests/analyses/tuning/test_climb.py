"""A fit in pieces is the fit in one, and is measured where it stands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.ensemble.datasets import counts_checksum, data_identity, place_of
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.analyses.tuning.climb import Climb, start_elbo, weigh
from gammasky.analyses.tuning.objectives import FitObjective, _opened
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.svi import VariationalFit
from gammasky.engine.model.spec import read_model

PARAMS = {"guide": "diagonal", "particles": 2, "learning_rate": 0.05}
STEPS, SEED = 40, 3
Objective = Callable[..., FitObjective]
DeskAt = Callable[..., Any]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_fast")]


@pytest.fixture
def objective(tiny_files: Path) -> Callable[..., FitObjective]:
    """On the tiny sky, whose model and compiled programs one test leaves to the next."""
    spec = read_model(str(tiny_files / "model.toml"))
    place, dataset = place_of(str(tiny_files / "sky"), None)
    fitted = json.dumps({"model": spec.model_dump(mode="json"), "data": data_identity(dataset, spec)})
    task = EnsembleTask(((counts_checksum(dataset), place),), str(tiny_files / "model.toml"))

    def build(**changes: Any) -> FitObjective:
        made = {"objective": "elbo", "steps": STEPS, "seconds": None, "seed": SEED, **changes}
        return FitObjective(task, fitted, **made)

    return build


def test_rungs_end_in_the_fit_of_the_same_settings(tmp_path: Path, desk_at: DeskAt, objective: Objective) -> None:
    (tmp_path / "trial").mkdir()
    desk, told = desk_at(tmp_path / "trial"), []
    for share in (0.125, 0.25, 0.5, 1.0):
        told.append(objective()(PARAMS, share, desk))
    assert [reached.row["steps_done"] for reached in told] == [5, 10, 20, 40]
    assert [reached.ended for reached in told] == [False, False, False, True]
    fractions = [fraction for fraction, _ in desk.told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    settings = objective().settings(PARAMS)
    assert settings == Settings(method="svi", emulator=False, steps=STEPS, seed=SEED, **PARAMS)  # type: ignore[arg-type]
    model, start = _opened(objective().task, objective().spec, SEED)
    assert {reached.row["observation"] for reached in told} == {model.pixels.digest}
    whole = fit(model, settings, n_draws=1000)
    climb = Climb(model, settings, start)
    climb.restore(tmp_path / "trial")
    np.testing.assert_array_equal(climb.elbo, whole.elbo)
    assert told[-1].value == pytest.approx(whole.diagnostics["elbo"], abs=1e-9)
    assert told[-1].row["k_hat"] == pytest.approx(whole.diagnostics["k_hat"], abs=1e-6)
    svi = VariationalFit(model, settings)  # the first rung is measured where it stands: after five steps
    state, _ = svi.advance(svi.start(start), 5)
    assert told[0].value == pytest.approx(weigh(model, *svi.draw(state, 1000)).elbo, abs=1e-9)
    assert told[0].value != pytest.approx(told[-1].value, abs=1e-3)

    (tmp_path / "trial" / CHECKPOINT).write_bytes(b"cut")
    again = objective()(PARAMS, 1.0, desk)
    assert again.value == told[-1].value


def test_ctrl_c_leaves_a_checkpoint(tmp_path: Path, desk_at: DeskAt, objective: Objective) -> None:
    (tmp_path / "trial").mkdir()
    with pytest.raises(KeyboardInterrupt):
        objective()(PARAMS, 1.0, desk_at(tmp_path / "trial", stop_at=0.1))
    with np.load(tmp_path / "trial" / CHECKPOINT, allow_pickle=False) as stored:
        assert 0.1 * STEPS <= stored["elbo"].size < STEPS
    reached = objective()(PARAMS, 1.0, desk_at(tmp_path / "trial"))
    (tmp_path / "whole").mkdir()
    assert reached.value == objective()(PARAMS, 1.0, desk_at(tmp_path / "whole")).value


def test_the_value_is_what_was_asked_for(tmp_path: Path, desk_at: DeskAt, objective: Objective) -> None:
    found = {}
    for name in ("elbo", "k_hat", "elbo_per_second"):
        (tmp_path / name).mkdir()
        found[name] = objective(objective=name)(PARAMS, 1.0, desk_at(tmp_path / name))
    assert found["elbo"].value == found["elbo"].row["elbo"]
    assert found["k_hat"].value == found["k_hat"].row["k_hat"]
    model, start = _opened(objective().task, objective().spec, SEED)
    before = start_elbo(model, start, SEED)
    row = found["elbo_per_second"].row
    assert found["elbo_per_second"].value == pytest.approx((row["elbo"] - before) / row["seconds"])


def test_a_fit_ends_with_its_time(tmp_path: Path, desk_at: DeskAt, objective: Objective) -> None:
    reached = objective(seconds=1e-9)(PARAMS, 0.5, desk_at(tmp_path))
    assert reached.ended
    assert reached.row["steps_done"] == 1
    assert math.isfinite(reached.value or math.nan)


def test_a_fit_that_runs_away_has_no_value(tmp_path: Path, desk_at: DeskAt, objective: Objective) -> None:
    reached = objective()({**PARAMS, "learning_rate": 50.0}, 1.0, desk_at(tmp_path))
    assert reached.value is None
    assert "diverged" in reached.why
