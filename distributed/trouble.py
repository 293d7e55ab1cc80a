"""What an exception of a fit says: that the fit is to blame, or the storage or device beneath it.

A fit that fails by itself will fail again. A file handle that went stale, a GPU that was lost or had no memory left are
none of its doing: another attempt, on another seat, may do. A full disk is nobody's to try again.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from gammasky.distributed.runners.base import Ending
from gammasky.engine.errors import GammaskyError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Of a file system or network that went away, or a machine that has no more of something.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        "ESTALE", "EIO", "EREMOTEIO", "ENODEV", "ENXIO", "EROFS", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "ECONNRESET",
        "ECONNREFUSED", "ECONNABORTED", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENOLINK", "ECOMM",
        "EBUSY", "EAGAIN", "EINTR", "EMFILE", "ENFILE", "ENOMEM", "ENOLCK", "EPIPE",
    )
    if hasattr(errno, name)
)  # fmt: skip
#: How XLA begins the message of what its device or its memory did, in an exception of its own.
_OF_DEVICE = re.compile(r"\s*(INTERNAL|UNAVAILABLE|RESOURCE_EXHAUSTED|ABORTED|DATA_LOSS|DEADLINE_EXCEEDED)\b")
_XLA = {"XlaRuntimeError", "JaxRuntimeError"}
_CALLBACK = re.compile(r"callback", re.IGNORECASE)  # then XLA's INTERNAL is what a function of ours has raised
_STARVED = re.compile(r"\b(MemoryError|RESOURCE_EXHAUSTED|out of memory|can't start new thread)\b", re.IGNORECASE)
_CUDA = {"CUDARuntimeError", "CUDADriverError", "CUBLASError", "CUSOLVERError", "CUSPARSEError"}  # of CuPy


def ending_of(error: BaseException, folder: Path) -> Ending:
    """How an attempt ended that raised `error`.

    Args:
        error: and what it was raised from: a reader's one line hides the file system's own.
        folder: the campaign's; a disk that is full elsewhere is the trouble of one node.
    """
    causes = list(_chain(error))
    if any(isinstance(cause, OSError) and cause.errno in FULL for cause in causes):
        return "full" if any(_is_of(folder, cause) for cause in causes) else "lost"
    return "lost" if any(map(_passes, causes)) else "failed"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _passes(error: BaseException) -> bool:
    """Whether an exception tells of storage, memory or a device."""
    if isinstance(error, MemoryError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING
    kinds, text = {kind.__name__ for kind in type(error).__mro__}, str(error)
    if kinds & _CUDA or _STARVED.search(text):
        return True
    return bool(kinds & _XLA and _OF_DEVICE.match(text) and not _CALLBACK.search(text))


def _is_of(folder: Path, error: BaseException) -> bool:
    """Whether a full disk is that of the campaign: its file lies there, or is not named."""
    if not (isinstance(error, OSError) and error.errno in FULL):
        return False
    return error.filename is None or Path(str(error.filename)).absolute().is_relative_to(folder)


def is_full(error: OSError) -> bool:
    """Whether a disk has no more room, or a user has used up a share of it."""
    return error.errno in FULL


def no_room(folder: Path, line: str, again: str) -> GammaskyError:
    """The error of work whose storage is full; `again` says how it goes on."""
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e9:.1f} GB free there)"
    except OSError:
        free = ""
    return GammaskyError(
        f"folder {folder}: no room for results: {line}{free}; make room or raise the quota, and {again}: nothing that"
        " was stored is lost"
    )
