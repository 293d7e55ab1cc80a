"""A folder of results, one file per member, that a killed run leaves whole."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing

# what zipfile and NumPy raise on an archive of arrays that was cut or altered
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)


class Store:
    """Arrays of finished members in `folder` (made by the first `save`), each file named by its member's key.

    A file is written beside its place, flushed and moved there in one step: other processes and later runs see all of
    it or nothing. One that is damaged all the same counts as absent, and the next `save` replaces it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @staticmethod
    def key(specification: Any) -> str:
        """32 hexadecimal digits of the SHA-256 of the specification as canonical JSON (sorted keys, no spaces)."""
        try:
            text = json.dumps(specification, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"specification of a member: expected plain, finite JSON values: {error}") from error
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def path(self, key: str) -> Path:
        """The file of a member."""
        if not re.fullmatch("[0-9a-f]{32}", key):
            raise InputError(f"key of a member: expected 32 hexadecimal digits, from `Store.key`, got '{key}'")
        return self.folder / f"{key}.npz"

    def has(self, key: str) -> bool:
        """Whether the whole result of a member is there, and undamaged: its file is read to the end."""
        return self.load(key) is not None

    def save(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the arrays of a member, in place of older ones."""
        for name, array in arrays.items():
            if np.asarray(array).dtype.hasobject:
                raise InputError(f"array '{name}': expected numbers or text, got Python objects, which are not stored")
        path = self.path(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = _contents(archive)

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a member; None if they are not there, or their file is damaged."""
        path = self.path(key)
        try:
            content = path.read_bytes()
            with zipfile.ZipFile(BytesIO(content)) as archive:
                if archive.comment != _contents(archive) or archive.testzip() is not None:
                    return None
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (FileNotFoundError, *_DAMAGED):
            return None

    def load_one(self, key: str, name: str) -> np.ndarray | None:
        """One array of a member, without reading the others; None if it is not there, or it or the list is damaged."""
        try:
            with zipfile.ZipFile(self.path(key)) as archive:
                if archive.comment != _contents(archive):
                    return None
                with archive.open(f"{name}.npy") as file:  # what it reads is checked
                    return np.lib.format.read_array(BytesIO(file.read()), allow_pickle=False)
        except (FileNotFoundError, *_DAMAGED):
            return None


def _contents(archive: zipfile.ZipFile) -> bytes:
    """Digest of names and checksums: an archive does not notice when a damaged directory hides an array."""
    listed = sorted((info.filename, info.CRC, info.file_size) for info in archive.infolist())
    return hashlib.sha256(repr(listed).encode()).hexdigest().encode()
