"""One attempt at a member, in the process that works on it: scratch folder, progress, time limit, stored result."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.distributed.folder import Places, write_failure, write_light
from gammasky.distributed.member import Result, Row
from gammasky.distributed.record import load_record, save_record
from gammasky.distributed.runners.base import Ending, Job, Outcome, Work
from gammasky.distributed.runners.watch import pulse
from gammasky.distributed.table import AXIS, OWN
from gammasky.engine.errors import GammaskyError

REPORT_SECONDS = 1.0  # between two writes of a member's progress


class DeskOf:
    """The `Desk` of one attempt; its progress is a small file that the driver and `status` read."""

    def __init__(self, places: Places, job: Job) -> None:
        self.folder = places.scratch / job.key
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = places.live / f"{job.key}.json"
        self._about = {"name": job.name, "attempt": job.attempt, "host": socket.gethostname(), "pid": os.getpid()}
        self._began, self._written = time.monotonic(), -float("inf")
        self.report(0.0)

    def report(self, fraction: float, **values: float) -> None:
        """See `Desk.report`."""
        now = time.monotonic()
        if now - self._written < REPORT_SECONDS:
            return
        self._written = now
        progress = {"fraction": float(fraction), "values": {name: float(value) for name, value in values.items()}}
        write_light(self._file, json.dumps({**self._about, **progress, "seconds": now - self._began}))

    def pulse(self) -> AbstractContextManager[None]:
        """Signs of life, within."""
        return pulse(self._file)

    def close(self) -> None:
        """Nothing is at work here any more."""
        self._file.unlink(missing_ok=True)


def attempt(folder: Path, load: Callable[[], Work], job: Job, *, own_process: bool) -> Outcome:
    """Run the task of one member and store its result.

    A member that is stored already is not run again: an earlier attempt may have ended just before it could say so.

    Args:
        folder: the campaign's.
        load: gives what to do. It may import much, or wait for storage: signs of life begin before that. What it raises
            says that this node lacks something; an OSError or a MemoryError, that something went wrong there just now.
        job: with which member.
        own_process: the process is there for members alone, so that one which takes too long may end it.
    """
    places = Places(folder)
    if not places.manifest.is_file():
        return Outcome("apart", error=f"{folder} on {socket.gethostname()}")
    try:
        desk = DeskOf(places, job)
    except OSError as error:
        return _unwritten(job, error)
    try:
        with desk.pulse():
            return load_record(places, job.key) or _loaded(load, job, desk, own_process)
    except Exception as error:  # before or after the task, whose own have ended as outcomes: another attempt may do
        return _broken("lost", job, error)
    finally:
        desk.close()


def _loaded(load: Callable[[], Work], job: Job, desk: DeskOf, own_process: bool) -> Outcome:
    try:
        work = load()
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return _broken("apart", job, error)
    return _worked(work, job, desk, own_process)


def _worked(work: Work, job: Job, desk: DeskOf, own_process: bool) -> Outcome:
    """The outcome of a task, its result stored."""
    places, began = Places(work.folder), time.monotonic()
    try:
        with _time_limit(work, job, places, own_process) as too_late:
            result = work.task(job.spec, desk)
        row = _row_of(result)
    except KeyboardInterrupt:
        if not too_late.is_set():
            raise
        return late(work, job)
    except Exception as error:
        return _raised(job, error)
    return _stored(places, job, result, Outcome("done", row, time.monotonic() - began, job.attempt))


def late(work: Work, job: Job) -> Outcome:
    """The outcome of a member that took longer than it may."""
    limit = f"took longer than its time limit of {work.resources.hours:g} h"
    return Outcome("late", attempts=job.attempt, error=f"{limit}; raise hours, or make it shorter")


def _stored(places: Places, job: Job, result: Result, done: Outcome) -> Outcome:
    try:
        save_record(places, job, result.arrays, done)
    except GammaskyError as error:  # arrays that are not stored
        return _raised(job, error)
    except OSError as error:
        return _unwritten(job, error)
    return done


def _unwritten(job: Job, error: OSError) -> Outcome:
    return Outcome("lost", attempts=job.attempt, error=f"cannot write: {error}")


def _raised(job: Job, error: Exception) -> Outcome:
    """The outcome of a task that raised; for lack of memory it is not to blame, and may find more next time."""
    # "RESOURCE_EXHAUSTED" is how compiled programs say it, in an exception of their own
    starved = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    return _broken("lost" if starved else "failed", job, error)


def _broken(ending: Ending, job: Job, error: Exception) -> Outcome:
    """The outcome of an attempt that an exception ended."""
    line = str(error) if isinstance(error, GammaskyError) else f"{type(error).__name__}: {error}"
    return Outcome(ending, attempts=job.attempt, error=line, trace="".join(traceback.format_exception(error)))


def _row_of(result: Any) -> Row:
    """The row of a result, as plain Python numbers and text.

    Raises:
        TypeError: no `Result`, another value, or a name that the table of results uses itself.
    """
    if not isinstance(result, Result):
        raise TypeError(f"a task must return a Result, got {type(result).__name__}")
    plain: Row = {}
    for name, value in result.row.items():
        if name in OWN or name.startswith(AXIS):
            raise TypeError(f"row '{name}': the table of results has a column of that name; choose another")
        plain[name] = value.item() if isinstance(value, np.generic) else value
        if not isinstance(plain[name], bool | int | float | str):
            raise TypeError(f"row '{name}': expected a number or text, got {type(value).__name__}")
    return plain


@contextmanager
def _time_limit(work: Work, job: Job, places: Places, own_process: bool) -> Iterator[threading.Event]:
    """Interrupt this process when the time is up, with the event set; a process of its own ends, whatever it does.

    Compiled code heeds no exception, so a worker is ended at once, its reason left in the campaign's folder.
    """
    too_late, lock, ended = threading.Event(), threading.Lock(), False

    def expire() -> None:
        with lock:
            if ended:
                return
            too_late.set()
            if own_process:
                write_failure(places, job.key, job.name, late(work, job))
                os._exit(1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    timer = threading.Timer(work.resources.hours * 3600, expire)
    timer.daemon = True
    if work.resources.hours > 0:
        timer.start()
    try:
        yield too_late
    finally:
        with lock:  # from here on it is too late to interrupt
            ended = True
        timer.cancel()
