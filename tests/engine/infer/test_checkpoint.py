"""Checkpoints: what is read is what was written, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import leaves, load_checkpoint, save_checkpoint

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
