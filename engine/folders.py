"""Folders that results are written to: gone again if nothing came of it, and of one writer at a time."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gammasky.engine.errors import InputError

LOCK = ".lock"
_WITHOUT_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}  # said by a file system that has none


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """Make a folder, the argument `out` of who calls, and see that it can be written to.

    It is taken away again if the body leaves it empty.

    Raises:
        InputError: it cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`out` {folder}: expected a folder, got a file; choose another name")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _remove_empty(made)
        raise InputError(f"`out` {folder}: cannot be written to ({error.strerror}); choose another folder") from None
    try:
        yield
    finally:
        _remove_empty(made)


@contextmanager
def locked(path: Path, seconds: float = 0.0, *, again: bool = False) -> Iterator[FileLock]:
    """Hold a lock, which belongs to the process: one that is killed gives it up.

    Args:
        path: of the file that is the lock.
        seconds: to wait for somebody else, who may have it for an instant.
        again: the thread that holds it may hold it once more.

    Raises:
        Timeout: somebody else holds it.
        InputError: its file system knows no locks.
    """
    # a mark in the place of a lock, which newer versions offer, would outlive a process that is killed
    no_marks: dict[str, Any] = (
        {"fallback_to_soft": False} if "fallback_to_soft" in signature(FileLock.__init__).parameters else {}
    )
    lock = FileLock(path, timeout=seconds, poll_interval=0.02, is_singleton=again, **no_marks)
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _WITHOUT_LOCKS:
            raise
        raise InputError(
            f"folder {path.parent}: its file system knows no locks; choose a folder on another one"
        ) from None
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Hold a folder that is there, so that no other process writes its results to it; held again by the same thread, it
    stays held.

    Raises:
        InputError: somebody else holds the folder, or its file system knows no locks.
    """
    what = "another process writes its results there (a fit, a test, simulated skies)"
    taken = InputError(f"folder {folder}: {what}; wait until it has ended, or choose another folder")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(folder / LOCK, again=True))
        except Timeout:
            raise taken from None
        if not (folder / LOCK).exists():  # its holder has just left and has taken the file away
            raise taken
        try:
            yield
        finally:
            if lock.lock_counter == 1:
                (folder / LOCK).unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, up to the first that holds something."""
    for folder in folders:
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
