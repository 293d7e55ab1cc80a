"""Checkpoints of a fit: one .npz of plain arrays, replaced in one step, never unpickled."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.files import replacing

Arrays = dict[str, np.ndarray]
_IDENTITY = "identity"


class Checkpoint:
    """The arrays of a checkpoint file; every question it cannot answer is an error that names the file."""

    def __init__(self, path: Path, arrays: Arrays) -> None:
        self._path, self._arrays = path, arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise _damaged(self._path, f"{name} is missing")
        return self._arrays[name]

    def table(self, name: str, keys: Collection[str]) -> dict[str, Any]:
        """Read a table that was written as JSON, and that has these keys.

        Raises:
            InputError: it is missing or no table, or lacks a key, as one of another release may.
        """
        try:
            table = json.loads(str(self[name]))
        except ValueError:
            table = None
        if not isinstance(table, dict):
            raise _damaged(self._path, f"{name} is no table")
        if missing := [key for key in keys if key not in table]:
            raise InputError(
                f"{self._path}: expected '{missing[0]}' in {name}, which one of another release of gammasky may "
                "lack; start the fit anew"
            )
        return table

    def one_of(self, name: str, word: Any, words: tuple[str, ...]) -> str:
        """Return a word of the array `name` if it is one of these: no other text of a file says what is done next.

        Raises:
            InputError: it is another one.
        """
        if word not in words:
            raise _damaged(self._path, f"{name}: expected one of {', '.join(words)}, got {word!r:.40}")
        return str(word)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While the body goes on from this checkpoint, take what it cannot make sense of for damage.

        Raises:
            InputError: a part is of another kind or shape, or lacks something, as one of another release may.
        """
        try:
            yield
        except GammaskyError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            reason = f"what it holds is not what this release expects: {type(error).__name__}, {error}"
            raise _damaged(self._path, reason.partition("\n")[0][:200]) from error

    def tree(self, prefix: str, like: Any) -> Any:
        """Read the tree that `leaves(prefix, tree)` wrote, in the structure, shapes and types of `like`.

        Raises:
            InputError: an array is missing or of another shape or type.
        """
        leaves, structure = jax.tree.flatten(like)
        found = []
        for number, leaf in enumerate(leaves):
            name = f"{prefix}_{number}"
            if name not in self or self[name].shape != leaf.shape or self[name].dtype != leaf.dtype:
                raise _damaged(self._path, f"{name} is missing or of another shape")
            found.append(jnp.asarray(self[name]))
        return jax.tree.unflatten(structure, found)


def leaves(prefix: str, tree: Any) -> Arrays:
    """The arrays of a tree under numbered names."""
    return {f"{prefix}_{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(tree))}


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], identity: Mapping[str, Any]) -> None:
    """Write the arrays and what fit they are of.

    Raises:
        OSError: what the file system refused; an older file is then still whole.
    """
    text = np.array(json.dumps(identity, sort_keys=True))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays, **{_IDENTITY: text})


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> Checkpoint:
    """The arrays that `save_checkpoint` wrote.

    Raises:
        InputError: the file is damaged, or of a fit with other settings (names the first that differs).
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        saved = json.loads(str(arrays.pop(_IDENTITY)))
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        raise _damaged(path, "not a whole .npz file") from None
    if not isinstance(saved, dict):
        raise _damaged(path, "identity is no table")
    for name in sorted(set(identity) | set(saved)):
        if saved.get(name) != identity.get(name):
            raise InputError(
                f"{path}: this fit has {name}={_short(saved.get(name))}, got {_short(identity.get(name))}; "
                "resume with the same settings, or start the fit anew"
            )
    return Checkpoint(path, arrays)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged checkpoint ({reason}); start the fit anew")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
