"""Checkpoints of a fit: one .npz of plain arrays, replaced in one step, never unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing
from gammasky.engine.infer.optimise import Laplace

_LAPLACE = ("mode", "scale_tril", "log_density", "optima")


def save_checkpoint(
    path: Path, state: Any, laplace: Laplace, elbo: NDArray[np.float64], seconds: float, identity: dict[str, Any]
) -> None:
    """Write the state of a fit, its start, the ELBO so far, the time spent and what fit it is."""
    leaves = {f"state_{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    start = {f"laplace_{name}": np.asarray(getattr(laplace, name)) for name in _LAPLACE}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream, allow_pickle=False, **leaves, **start,
            elbo=elbo, seconds=seconds, identity=np.array(json.dumps(identity, sort_keys=True)),
        )  # fmt: skip


def load_checkpoint(path: Path, like: Any, identity: dict[str, Any]) -> tuple[Any, Laplace, NDArray[np.float64], float]:
    """The state (in the structure of `like`), the start, the ELBO so far and the seconds spent.

    Raises:
        InputError: the file is damaged, or of a fit with other settings (names the first that differs).
    """
    entries, saved = _read(path)
    for name in sorted(set(identity) | set(saved)):
        if saved.get(name) != identity.get(name):
            raise InputError(
                f"{path}: this fit has {name}={_short(saved.get(name))}, got {_short(identity.get(name))}; "
                "resume with the same settings, or start again with --overwrite"
            )
    leaves, shape = jax.tree.flatten(like)
    state = {f"state_{number}": leaf for number, leaf in enumerate(leaves)}
    for name, leaf in state.items():
        if name not in entries or entries[name].shape != leaf.shape or entries[name].dtype != leaf.dtype:
            raise _damaged(path, f"{name} is missing or of another shape")
    for name in (*(f"laplace_{part}" for part in _LAPLACE), "elbo", "seconds"):
        if name not in entries:
            raise _damaged(path, f"{name} is missing")
    start = Laplace(
        entries["laplace_mode"], entries["laplace_scale_tril"],
        float(entries["laplace_log_density"]), entries["laplace_optima"],
    )  # fmt: skip
    restored = jax.tree.unflatten(shape, [jnp.asarray(entries[name]) for name in state])
    return restored, start, entries["elbo"], float(entries["seconds"])


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a checkpoint, and what fit it is of."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            entries = {name: stored[name] for name in stored.files}
        saved = json.loads(str(entries["identity"]))
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        raise _damaged(path, "not a whole .npz file") from None
    if not isinstance(saved, dict):
        raise _damaged(path, "identity is no table")
    return entries, saved


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged checkpoint ({reason}); start again with --overwrite")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
