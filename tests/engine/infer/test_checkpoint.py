"""Checkpoints: what is read is what was written, and nothing else is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import Checkpoint, leaves, load_checkpoint, save_checkpoint
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.emulator.copy import framed
from gammasky.engine.infer.emulator.emulation import PHASES, Emulation
from gammasky.engine.infer.emulator.memory import recall, remembered
from gammasky.engine.infer.emulator.scouts import Forward
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.run import fit, fit_identity
from gammasky.engine.infer.settings import Settings
from tests.engine.infer.emulator import toys

IDENTITY = {"guide": "iaf", "seed": 3, "data_sha256": {"counts.npy": "abc"}}


def state() -> Any:
    rng = np.random.default_rng(1)
    return {
        "guide": [jnp.asarray(rng.standard_normal((3, 2))), ()],
        "step": jnp.asarray(7),
        "finite": jnp.asarray(True),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoint.npz"
    save_checkpoint(file, {**leaves("state", state()), "elbo": np.arange(7.0)}, IDENTITY)
    return file


def test_round_trip(path: Path) -> None:
    checkpoint = load_checkpoint(path, IDENTITY)
    loaded = checkpoint.tree("state", jax.tree.map(jnp.zeros_like, state()))
    assert jax.tree.structure(loaded) == jax.tree.structure(state())
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(state()), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(checkpoint["elbo"], np.arange(7.0))
    assert "elbo" in checkpoint
    assert "identity" not in checkpoint


@pytest.mark.parametrize(("name", "value"), [("seed", 4), ("guide", "mvn"), ("data_sha256", {"counts.npy": "abd"})])
def test_another_fit_is_refused_by_name(path: Path, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"this fit has {name}="):
        load_checkpoint(path, {**IDENTITY, name: value})


def test_an_array_that_is_missing_or_of_another_shape_is_damage(path: Path) -> None:
    checkpoint = load_checkpoint(path, IDENTITY)
    with pytest.raises(InputError, match=r"checkpoint\.npz: damaged checkpoint \(draws is missing\)"):
        checkpoint["draws"]
    with pytest.raises(InputError, match="state_0 is missing or of another shape"):
        checkpoint.tree("state", {**state(), "finite": jnp.zeros(2)})


def test_a_table_without_a_key_is_of_another_release(path: Path) -> None:
    save_checkpoint(path, {"plain": np.array(json.dumps({"phase": "chains"}))}, IDENTITY)
    checkpoint = load_checkpoint(path, IDENTITY)
    assert checkpoint.table("plain", ["phase"]) == {"phase": "chains"}
    with pytest.raises(InputError, match=r"checkpoint\.npz: expected 'accepted' in plain, .*start the fit anew"):
        checkpoint.table("plain", ["phase", "accepted"])


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_a_table_that_is_none_is_damage(path: Path, text: str) -> None:
    save_checkpoint(path, {"plain": np.array(text)}, IDENTITY)
    with pytest.raises(InputError, match=r"checkpoint\.npz: damaged checkpoint \(plain is no table\)"):
        load_checkpoint(path, IDENTITY).table("plain", [])


def begun(method: str) -> dict[str, np.ndarray]:
    """What a checkpoint holds of a fit whose copy has been tested."""
    emulation = Emulation(toys.prior(), 0)
    emulation.copy = framed(emulation.target, np.zeros(4), np.eye(4))
    emulation.phase, emulation.tests = "run_chains", [Forward(0.0, 0.1, 0.0, 0.2)]
    emulation.found = {"z0": Convergence(1.0, 900.0, 900.0)}
    start = {f"emulator_laplace_{part}": np.zeros(1) for part in ("mode", "scale_tril", "optima", "optima_z")}
    start |= {"emulator_laplace_log_density": np.asarray(0.0), "emulator_seconds": np.asarray(1.0)}
    of_auto = {"auto_phase": np.array("emulator"), "auto_failure": np.array(""), "auto_seconds": np.asarray(1.0)}
    return remembered(emulation) | start | (of_auto if method == "auto" else {})


def without(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


DAMAGE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "phase": lambda plain: {**plain, "phase": "told"},
    "phase of another kind": lambda plain: {**plain, "phase": ["first"]},
    "test": lambda plain: {**plain, "tests": [without(plain["tests"][0], "worst")]},
    "test of another release": lambda plain: {**plain, "tests": [{**plain["tests"][0], "best": 1.0}]},
    "convergence": lambda plain: {**plain, "found": {"z0": without(plain["found"]["z0"], "r_hat")}},
    "convergence of another kind": lambda plain: {**plain, "found": [1.0]},
    "evidence": lambda plain: {**plain, "log_z": {}},
    "chains": lambda plain: {**plain, "chains": without(plain["chains"], "step")},
    "evaluations": lambda plain: {**plain, "evaluations": [1]},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_fit_does_not_go_on_from_what_it_cannot_read(damage: str, tmp_path: Path) -> None:
    """A text of the file chooses no method but a phase; a part of another release is told in one line."""
    model, settings, arrays = toys.prior(), Settings(), begun("emulator")
    plain = json.loads(str(arrays["emulator_plain"]))
    recall(Emulation(model, 0), Checkpoint(tmp_path, arrays))  # which is whole
    arrays["emulator_plain"] = np.array(json.dumps(DAMAGE[damage](plain)))
    save_checkpoint(tmp_path / CHECKPOINT, arrays, fit_identity(model, settings))
    with pytest.raises(InputError, match=r"checkpoint\.npz: damaged checkpoint \(.*\); start the fit anew$") as error:
        fit(model, settings, folder=tmp_path, resume=True)
    assert "\n" not in str(error.value)
    if damage == "phase":
        assert "emulator_plain: expected one of first, round, draw_pool, " in str(error.value)


def test_auto_goes_on_with_its_own_phases_alone(tmp_path: Path) -> None:
    model, settings = toys.prior(), Settings(method="auto")
    arrays = begun("auto") | {"auto_phase": np.array("told")}
    save_checkpoint(tmp_path / CHECKPOINT, arrays, fit_identity(model, settings))
    with pytest.raises(InputError, match=r"\(auto_phase: expected one of emulator, nuts, done, got 'told'\)"):
        fit(model, settings, folder=tmp_path, resume=True)


def test_every_phase_is_a_method() -> None:
    assert all(callable(getattr(Emulation, f"_{phase}")) for phase in PHASES[:-1])
    assert PHASES[-1] == "done"


def test_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"damaged checkpoint .*start the fit anew"):
        load_checkpoint(path, IDENTITY)


def test_pickles_are_refused(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, identity=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged checkpoint"):
        load_checkpoint(path, IDENTITY)


def test_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"elbo": np.arange(8.0)}, IDENTITY)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.npz"]
