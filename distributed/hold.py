"""How a driver takes hold of the folder of a campaign or a search.

One driver has it at a time, nobody's files are touched, and what a killed driver has left is cleared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from gammasky.distributed.folder import Places, read_json, write_light
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.folders import locked

_LOCK_SECONDS = 0.5  # `driver_alive` in another terminal has the lock for an instant
_LOOK_SECONDS = 0.1  # as long as another `driver_alive` may have it
_SILENT_SECONDS = 60.0  # after which a driver whose lock may not be tried is taken for dead
#: Temporary files of a writer that was killed.
_TORN = re.compile(r"\.(\w+)\.[0-9a-f]{8}\.(json|npz|csv)")


@dataclass(frozen=True)
class Kind:
    """What a folder may hold, and how messages speak of it.

    Attributes:
        name: "campaign" or "search".
        format, version: what its manifest says of itself.
        begin, go_on: what a user does to begin one, and to go on with the one in {folder}.
    """

    name: str
    format: str
    version: int
    begin: str
    go_on: str


def read_content(folder: Path, kind: Kind) -> dict[str, Any]:
    """The content of a manifest.

    Raises:
        InputError: no manifest there, one of another kind or version, or one that is damaged.
    """
    path = Places(folder).manifest
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: no {kind.name} there; {kind.begin}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); start a new {kind.name} in another folder") from error
    if not isinstance(content, dict) or content.get("format") != kind.format:
        raise InputError(f"{path}: expected the manifest of a {kind.name}, got something else; choose another folder")
    if content.get("version") != kind.version:
        raise InputError(
            f"{path}: expected version {kind.version}, got {content.get('version')!r}; continue it with the gammasky"
            f" that began it, or start a new {kind.name} in another folder"
        )
    return content


def write_content(folder: Path, kind: Kind, content: dict[str, Any]) -> None:
    """Write a manifest, whole or not at all."""
    head = {"format": kind.format, "version": kind.version}
    write_text(Places(folder).manifest, json.dumps({**head, **content}, allow_nan=False))


@contextmanager
def held(folder: Path, kind: Kind, *, resume: bool, grow: bool = False) -> Iterator[Places]:
    """A folder that is this driver's alone; it may then write the manifest, and `clear` the rest.

    A folder that this made, and in which nothing has ended when the work is refused (there is no such cluster, no node
    is large enough), goes again: the same command, corrected, finds it as it was.

    Args:
        folder: new or empty, or with a manifest of that kind.
        kind: what it is to hold.
        resume: it must have a manifest already; grow: it may have one.

    Raises:
        InputError: the folder cannot be used, has another driver, or holds what was not asked for.
    """
    places, new = Places(folder), not folder.exists()
    _check(places, kind, resume, grow)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(places.lock, _LOCK_SECONDS))
        except Timeout:
            raise InputError(f"{folder}: {_who(places)} is at work there; wait for it, or stop it first") from None
        except OSError as error:
            raise InputError(f"{folder}: cannot write there: {error.strerror or error}") from error
        try:
            write_light(places.driver, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
            _check(places, kind, resume, grow)  # what another driver has made meanwhile
            yield places
        except InputError:
            if new and not (any(places.members.glob("*")) or any(places.failed.glob("*"))):
                shutil.rmtree(folder)
            raise


def _check(places: Places, kind: Kind, resume: bool, grow: bool) -> None:
    """Refuse a folder that holds something else than it should."""
    folder = places.folder
    if resume or (grow and places.manifest.exists()):
        read_content(folder, kind)
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, got a file; choose another name")
    if places.manifest.exists():
        read_content(folder, kind)
        raise InputError(f"{folder}: holds a {kind.name}; {kind.go_on.format(folder=folder)}")
    own = {places.lock.name, places.driver.name}
    there = sorted(path.name for path in folder.glob("*") if path.name not in own and not _TORN.fullmatch(path.name))
    if there:
        raise InputError(f"{folder}: holds something else ('{there[0]}'); expected a new or empty folder")


def _who(places: Places) -> str:
    said = read_json(places.driver) or {}
    return f"another driver (process {said.get('pid', 'unknown')} on {said.get('host', 'an unknown host')})"


def driver_alive(places: Places) -> bool:
    """Whether a driver has the folder; a lock that a dead one left behind is free."""
    if not places.lock.exists():
        return False
    try:
        with locked(places.lock, _LOOK_SECONDS):
            return False
    except Timeout:
        return True
    except (OSError, InputError):  # no locks, or somebody else's folder to read: what its driver said last, and when
        return places.driver.exists() and time.time() - places.driver.stat().st_mtime < _SILENT_SECONDS


def clear(places: Places) -> None:
    """Make the folders, once there is a manifest; remove what drivers that were killed have left.

    That is the progress of what nobody works on any more, and files that were never finished.
    """
    places.running.unlink(missing_ok=True)
    for folder in (places.members, places.failed, places.damaged, places.scratch):
        folder.mkdir(exist_ok=True)
    for folder in (places.folder, places.members, places.failed):
        for path in folder.glob(".*"):
            if _TORN.fullmatch(path.name):
                path.unlink(missing_ok=True)
