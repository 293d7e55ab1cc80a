"""Files that are written whole or not at all, and the folder that keeps some between runs."""

from __future__ import annotations

import errno
import json
import math
import os
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError, unknown_name


def cache_folder(name: str = "") -> Path:
    """The per-user cache folder, or its part for `name` (a dataset, a kind of derived numbers)."""
    import pooch

    return Path(pooch.os_cache("gammasky")) / name


def shipped_files(package: str, *folders: str) -> dict[str, Path]:
    """The TOML files in a folder of that package: name -> file, in the order of their names."""
    files = [Path(str(entry)) for entry in resources.files(package).joinpath(*folders).iterdir()]
    return {path.stem: path for path in sorted(files) if path.suffix == ".toml"}


def named_file(kind: str, name: str, shipped: Mapping[str, Path]) -> Path:
    """The shipped file of that name, or the file at that path.

    Raises:
        InputError: neither; names the nearest of those shipped.
    """
    path = shipped.get(name, Path(name))
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"{path}: no such {kind} file; give a TOML file or one of {', '.join(shipped)}")
    raise unknown_name(kind, name, shipped)


def read_bytes(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: file not found; put it there, or correct its name") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file.

    Raises:
        InputError: the file is missing, cannot be read, or is not one.
    """
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8"))
    except ValueError as error:  # of the syntax, of the encoding, or of a whole number with thousands of digits
        raise InputError(f"{path}: not a TOML file: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deep; expected tables in tables, a few levels of them") from None


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, for the body to write; afterwards it takes the place of `path` in one step.

    The content is on the disk before the name changes, so a full disk, an interrupt or a power cut leaves the old file
    or the new one, never a part. Where the body fails, the temporary file is removed and the old file stays.

    Args:
        path: the file to write; its suffix is the temporary file's too, since writers look at suffixes.

    Raises:
        OSError: what the file system refused; `filename` is `path`.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(path), None  # the user knows nothing of the temporary file
        raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OSError: what the file system refused; an older file is then still whole.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write plain values and NumPy's as JSON, whole or not at all; numbers that are not finite become null.

    Raises:
        OSError: what the file system refused; an older file is then still whole.
    """
    write_text(path, json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """The same in what JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
