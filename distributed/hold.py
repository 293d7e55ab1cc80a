"""How a driver takes hold of a campaign's folder: one driver at a time, nobody's files touched, leftovers cleared."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gammasky.distributed.folder import (
    Listed,
    Manifest,
    Places,
    check_same,
    read_json,
    read_manifest,
    write_light,
    write_manifest,
)
from gammasky.distributed.record import load_record
from gammasky.distributed.runners.base import Outcome
from gammasky.engine.errors import InputError

_LOCK_SECONDS = 0.5  # `driver_alive` in another terminal has the lock for an instant
#: Temporary files of a writer that was killed.
_TORN = re.compile(r"\.(manifest|driver|results|[0-9a-f]{32})\.[0-9a-f]{8}\.(json|npz|csv)")


@contextmanager
def held(
    folder: Path, campaign: dict[str, Any], listed: Sequence[Listed], *, resume: bool, grow: bool = False
) -> Iterator[Places]:
    """A campaign's folder, ready to work in and this driver's alone; see `run_campaign`.

    A folder that this made, and in which nothing has ended when the work is refused (there is no such cluster, no node
    is large enough), goes again: the same command, corrected, finds it as it was.

    Raises:
        InputError: the folder cannot be used, has another driver, or holds what was not asked for.
    """
    places, new = Places(folder), not folder.exists()
    _check_content(places, resume, grow)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(places.lock, timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder}: {_who(places)} is at work there; wait for it, or stop it first") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror or error}") from error
    try:
        write_light(places.driver, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        _check_content(places, resume, grow)  # what another driver has made meanwhile
        if grow and places.manifest.exists():
            _grow(folder, campaign, listed)
        elif resume:
            check_same(folder, read_manifest(folder), listed)
        else:
            write_manifest(folder, Manifest(campaign, tuple(listed)))
        _clear(places)
        yield places
    except InputError:
        if new and not (any(places.members.glob("*")) or any(places.failed.glob("*"))):
            shutil.rmtree(folder)
        raise
    finally:
        lock.release()


def _grow(folder: Path, campaign: dict[str, Any], listed: Sequence[Listed]) -> None:
    """Add the members that a campaign does not have yet to its manifest.

    Its description may change where all its members are asked for again, as with an axis of more choices.
    """
    stored, plain = read_manifest(folder), json.loads(json.dumps(campaign))
    had = {member.key for member in stored.members}
    if stored.campaign == plain:
        members = stored.members + tuple(member for member in listed if member.key not in had)
    elif had <= {member.key for member in listed}:
        members = tuple(listed)
    else:
        raise InputError(f"{folder}: holds a campaign of other settings or data; choose another folder")
    if (grown := Manifest(plain, members)) != stored:
        write_manifest(folder, grown)


def _check_content(places: Places, resume: bool, grow: bool) -> None:
    if resume or (grow and places.manifest.exists()):
        read_manifest(places.folder)
        return
    if places.folder.exists() and not places.folder.is_dir():
        raise InputError(f"{places.folder}: expected a folder, got a file")
    if places.manifest.exists():
        read_manifest(places.folder)
        raise InputError(f"{places.folder}: holds a campaign; go on with `gammasky campaign resume {places.folder}`")
    own = {places.lock.name, places.driver.name}
    there = sorted(
        path.name for path in places.folder.glob("*") if path.name not in own and not _TORN.fullmatch(path.name)
    )
    if there:
        raise InputError(f"{places.folder}: holds something else ('{there[0]}'); expected a new or empty folder")


def _who(places: Places) -> str:
    said = read_json(places.driver) or {}
    return f"another driver (process {said.get('pid', 'unknown')} on {said.get('host', 'an unknown host')})"


def driver_alive(places: Places) -> bool:
    """Whether a driver has the folder; a lock that a dead one left behind is free."""
    try:
        descriptor = os.open(places.lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _clear(places: Places) -> None:
    """Make the folders; remove the progress of members that nobody works on, and files that were never finished."""
    if places.live.exists():
        shutil.rmtree(places.live)
    for folder in (places.members, places.failed, places.damaged, places.scratch, places.live):
        folder.mkdir(exist_ok=True)
    for folder in (places.folder, places.members, places.failed):
        for path in folder.glob(".*"):
            if _TORN.fullmatch(path.name):
                path.unlink(missing_ok=True)


def stored_members(places: Places, listed: Sequence[Listed]) -> dict[str, Outcome]:
    """The members that are done, by key. A file that cannot be read back is named in a warning and set aside."""
    there = {path.stem for path in places.members.glob("*.npz")}
    found: dict[str, Outcome] = {}
    for member in listed:
        if member.key not in there:
            continue
        if outcome := load_record(places, member.key):
            found[member.key] = outcome
        else:
            _set_aside(places, member)
    return found


def _set_aside(places: Places, member: Listed) -> None:
    path = places.members / f"{member.key}.npz"
    number = sum(1 for _ in places.damaged.glob(f"{member.key}*"))
    kept = places.damaged / f"{member.key}{f'.{number}' if number else ''}.npz"
    os.replace(path, kept)
    print(
        f"gammasky: warning: the file of '{member.name}' is damaged; set aside as {kept}, and fitted again",
        file=sys.stderr,
    )
