"""Where the demo sky is kept, and how it gets there: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from gammasky.engine.errors import InputError
from gammasky.engine.files import cache_folder
from gammasky.engine.sky.cache import code_version
from gammasky.engine.sky.demo import DEMO, SUMS_NAME
from gammasky.engine.sky.manifest import MANIFEST_NAME, MapFile, read_manifest, shipped_manifests

KEPT_DAYS = 2.0  # for which the demo of another version stays after its last use
_OURS = re.compile(r"[0-9a-f]{16}|\.[0-9a-f]{16}\.[0-9a-f]{8}")  # the second: of a writer, see `_make`


def demo_folder(name: str = DEMO) -> Path:
    """The folder of the demo `name` in the per-user cache, named after everything that the demo follows from."""
    text = shipped_manifests()[name].read_bytes()
    return cache_folder(name) / hashlib.sha256(code_version().encode() + text).hexdigest()[:16]


def made_folder(folder: Path | None = None, name: str = DEMO) -> Path:
    """The folder with the files of the demo `name`, made now unless it is there and whole.

    The files are written to a temporary folder beside it, which takes its name in one step: two processes at once, or
    an interrupt, leave a whole folder or none. Once a new one is in the cache, those of other versions go, unless they
    were asked for within the last KEPT_DAYS.

    Args:
        folder: instead of the one in the per-user cache; it must be new or empty, or hold the demo.
        name: which of the demos.

    Raises:
        InputError: the folder cannot be written, or holds something else.
    """
    target = demo_folder(name) if folder is None else folder.absolute()
    if is_whole(target, name):
        _mark_used(target)
        return target
    try:
        if folder is not None and _holds_other_files(target, name):
            raise InputError(f"{folder}: holds other files; choose a new or an empty folder for the demo")
        _make(target, name)
        if folder is None:
            _remove_unused(target)
    except OSError as error:
        raise InputError(
            f"dataset '{name}': cannot be made in {target} ({error.strerror or error}); set XDG_CACHE_HOME to a folder "
            f"that can be written, or give `gammasky data fetch {name}` a `folder` of yours and name it with `data_dir`"
        ) from error
    return target


def is_whole(folder: Path, name: str = DEMO) -> bool:
    """Whether every file of the demo `name` is there with its checksum."""
    return all(status == "ok" for _, status in file_statuses(folder, name))


def file_statuses(folder: Path, name: str = DEMO) -> list[tuple[str, str]]:
    """Each file of the demo `name` with its status, by the list beside the files: `ok`, `missing`, `wrong checksum`."""
    manifest = read_manifest(shipped_manifests()[name])
    entries: list[MapFile] = [manifest.counts, manifest.exposure, *manifest.masks.values()]
    files = [entry.file for entry in entries] + [manifest.template_file(key) for key in manifest.templates]
    sums = _sums(folder / SUMS_NAME)
    return [(file, _status(folder / file, sums)) for file in (MANIFEST_NAME, *files)]


def _sums(path: Path) -> dict[str, str]:
    """SHA-256 by file name; a line that is damaged names no file that is looked for."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _status(path: Path, sums: dict[str, str]) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return "missing"
    return "ok" if sums.get(path.name) == hashlib.sha256(content).hexdigest() else "wrong checksum"


def _holds_other_files(folder: Path, name: str) -> bool:
    """Whether anything lies there that is no file of the demo: a folder that the user names is not ours to clear."""
    if not folder.exists():
        return False
    ours = {SUMS_NAME, *(file for file, _ in file_statuses(folder, name))}
    return not folder.is_dir() or not {path.name for path in folder.iterdir()} <= ours


def _make(target: Path, name: str) -> None:
    """Write the demo beside `target` and give it that name."""
    from gammasky.engine.sky.demo.build import write_demo

    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        write_demo(temporary, shipped_manifests()[name])
        _take_place(temporary, target, name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _mark_used(folder: Path) -> None:
    """Leave the time of this use with a folder, which tells that it is still wanted."""
    with suppress(OSError):  # in a cache that is only read, nothing is removed either
        os.utime(folder / SUMS_NAME)


def _remove_unused(target: Path) -> None:
    """Remove the demos of other versions of this package from the cache, and what writers that were killed have left.

    Only folders go that are recognisably a demo: named as such, with no file but those in their list of checksums. One
    that was asked for lately may still be read by a program of another version, and stays.
    """
    for folder in target.parent.iterdir():
        if folder == target or folder.is_symlink() or not _OURS.fullmatch(folder.name):
            continue
        with suppress(OSError):  # somebody else removes it, too, or may and we may not
            names = {path.name for path in folder.iterdir()}
            listed = {SUMS_NAME, *_sums(folder / SUMS_NAME)}
            marks = folder / SUMS_NAME if SUMS_NAME in names else folder
            whole = MANIFEST_NAME in names and SUMS_NAME in names and names <= listed
            if (whole or folder.name.startswith(".")) and time.time() - marks.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(folder)


def _take_place(temporary: Path, target: Path, name: str) -> None:
    """Rename, unless another process was first; a damaged folder makes room."""
    try:
        os.rename(temporary, target)
    except OSError:
        if is_whole(target, name):
            return
        if not target.exists():
            raise
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        os.rename(target, aside)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(temporary, target)
