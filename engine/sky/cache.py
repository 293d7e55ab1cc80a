"""Numbers that take seconds to make, kept on disk between runs."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import warn_once
from gammasky.engine.files import cache_folder, replacing

Arrays = dict[str, np.ndarray]


@functools.cache
def code_version() -> str:
    """SHA-256 of the source code that makes what is kept: this package and the kernels below it.

    A part of every key, so that no change of a method meets numbers of the one before, whoever makes it.
    """
    engine = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for part in ("sky", "kernels") for path in (engine / part).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def remembered(
    kind: str,
    key: Mapping[str, Any],
    make: Callable[[], Arrays],
    *,
    folder: Path | None = None,
    sound: Callable[[Arrays], bool] = bool,
) -> Arrays:
    """Return what `make()` gives: from the per-user cache where it is there, else made and kept.

    Args:
        kind: name of the folder in the cache.
        key: everything that the result depends on, but for the code.
        make: makes the arrays; called where the cache has none, a damaged file, or one that is not `sound`.
        folder: instead of the per-user cache.
        sound: whether arrays from a file are such a result.
    """
    folder = cache_folder(kind) if folder is None else folder
    digest = hashlib.sha256(json.dumps([code_version(), dict(key)], sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"{digest}.npz"
    known = _load(path)
    if known is None or not sound(known):
        known = make()
        _save(path, known)
    return known


def _load(path: Path) -> Arrays | None:
    """The arrays of a cache file, or None where there is none or it is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, arrays: Arrays) -> None:
    """Write a cache file; a cache that cannot be written is only worth a warning."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
    except OSError as error:
        folder, reason = path.parent.parent, error.strerror or error
        warn_once(
            f"nothing is kept between runs in {folder} ({reason}); set XDG_CACHE_HOME to a folder that can be written"
        )
