"""The folder of a search: what it searches, and one driver at a time.

- manifest.json   what is searched, written once
- study.journal   Optuna's study, unless it is in a database
- members/        the results of rungs; scratch/: checkpoints of trials under way
- trials.csv      table of trials, made anew when a driver ends
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gammasky.distributed.folder import Places, read_json, write_light
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing

FORMAT, VERSION = "gammasky tuning", 1
_LOCK_SECONDS = 0.5
_TORN = re.compile(r"\.\w+\.[0-9a-f]{8}\.(json|npz|csv)")  # of a writer that was killed, see `replacing`


@contextmanager
def held(folder: Path, search: dict[str, Any], *, resume: bool) -> Iterator[tuple[Places, str]]:
    """A search's folder, ready to work in and this driver's alone, and the name of its study.

    Args:
        folder: new or empty, or that of the same search to resume.
        search: what is searched, as plain JSON.

    Raises:
        InputError: the folder cannot be used, has another driver, or holds what was not asked for.
    """
    places = Places(folder)
    _check_content(places, search, resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(places.lock, timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout:
        said = read_json(places.driver) or {}
        who = f"process {said.get('pid', 'unknown')} on {said.get('host', 'an unknown host')}"
        raise InputError(f"{folder}: another driver ({who}) is at work there; wait for it, or stop it") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror or error}") from error
    try:
        write_light(places.driver, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        _check_content(places, search, resume)  # what another driver has made meanwhile
        if not resume:
            study = f"{folder.name}-{uuid.uuid4().hex[:8]}"  # a database may have many of that folder name
            content = {"format": FORMAT, "version": VERSION, "study": study, "search": search}
            with replacing(places.manifest) as temporary:
                temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
        _clear(places)
        yield places, read_search(folder)[1]
    finally:
        lock.release()


def read_search(folder: Path | str) -> tuple[dict[str, Any], str]:
    """What is searched in a folder, and the name of its study.

    Raises:
        InputError: no search there, one of another version, or a manifest that is damaged.
    """
    path = Places(Path(folder)).manifest
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: no search there to resume; start it without --resume") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); start a new search in another folder") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: expected the manifest of a search, got something else; choose another folder")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: expected version {VERSION}, got {content.get('version')!r}; start a new search in another folder"
        )
    return content["search"], content["study"]


def _check_content(places: Places, search: dict[str, Any], resume: bool) -> None:
    folder = places.folder
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, got a file; choose another name")
    if resume:
        _check_same(folder, read_search(folder)[0], search)
        return
    own = {places.lock.name, places.driver.name}
    there = sorted(path.name for path in folder.glob("*") if path.name not in own and not _TORN.fullmatch(path.name))
    if places.manifest.name in there:
        raise InputError(f"{folder}: holds a search or a campaign; go on with --resume, or choose another folder")
    if there:
        raise InputError(f"{folder}: holds something else ('{there[0]}'); expected a new or empty folder")


def _check_same(folder: Path, stored: dict[str, Any], search: dict[str, Any]) -> None:
    for name in sorted(set(stored) | set(search)):
        if stored.get(name) != search.get(name):
            raise InputError(
                f"{folder}: {name} of the search there is {_short(stored.get(name))}, got {_short(search.get(name))};"
                " resume with the same, or start another search in another folder"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _clear(places: Places) -> None:
    """Make the folders; remove the progress of trials that nobody works on, and files that were never finished."""
    if places.live.exists():
        shutil.rmtree(places.live)
    for folder in (places.members, places.failed, places.scratch, places.live):
        folder.mkdir(exist_ok=True)
    for folder in (places.folder, places.members, places.failed):
        for path in folder.glob(".*"):
            if _TORN.fullmatch(path.name):
                path.unlink(missing_ok=True)
