"""One attempt at a member, in the process that works on it: scratch folder, progress, time limit, stored result."""

from __future__ import annotations

import math
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.distributed.folder import Places
from gammasky.distributed.member import Result, Row
from gammasky.distributed.record import load_record, save_record
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.table import AXIS, OWN
from gammasky.distributed.trouble import ending_of
from gammasky.engine.errors import GammaskyError

Tell = Callable[[float, dict[str, float]], None]
Interrupt = Callable[[], None]


class DeskOf:
    """The `Desk` of one attempt; `tell` takes its progress."""

    def __init__(self, places: Places, job: Job, tell: Tell, lanes: int = 1) -> None:
        self.folder, self.lanes = places.scratch / job.key, lanes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tell = tell

    def report(self, fraction: float, **values: float) -> None:
        """See `Desk.report`."""
        self._tell(float(fraction), {name: float(value) for name, value in values.items()})


def attempt(work: Work, job: Job, tell: Tell, about: Mapping[str, str], interrupt: Interrupt | None = None) -> Outcome:
    """Run the task of one member and store its result.

    A member that is stored already is not run again: an earlier attempt may have ended just before it could say so.

    Args:
        work: what to do.
        job: with which member.
        tell: takes the progress.
        about: the software and device of this process, for the member's row.
        interrupt: called when the member's time is up, so that a KeyboardInterrupt ends it; None: others see to that.
    """
    places = Places(work.folder)
    try:
        if not places.manifest.is_file():
            return Outcome("apart", attempts=job.attempt, error=unseen(work.folder))
        desk = DeskOf(places, job, tell, work.lanes)
        return load_record(places, job.key) or _worked(work, job, desk, about, interrupt)
    except Exception as error:  # before or after the task, whose own have ended as outcomes
        outcome = broken(job, error, work.folder)
        return replace(outcome, ending="lost") if outcome.ending == "failed" else outcome


def unseen(folder: Path) -> str:
    """What is said of a node without the storage."""
    return (
        f"folder: a worker does not see {folder} on {socket.gethostname()}; expected storage that all nodes share,"
        f" got {folder}"
    )


def _worked(work: Work, job: Job, desk: DeskOf, about: Mapping[str, str], interrupt: Interrupt | None) -> Outcome:
    """The outcome of a task, its result stored."""
    began = time.monotonic()
    try:
        with _time_limit(job.limit, interrupt) as too_late:
            result = work.task(job.spec, desk)
        row = {**_row_of(result), **about}
    except KeyboardInterrupt:
        if not too_late.is_set():
            raise
        return late(job)
    except Exception as error:
        return broken(job, error, work.folder)
    done = Outcome("done", row, time.monotonic() - began, job.attempt)
    try:
        save_record(Places(work.folder), job, result.arrays, done)
    except GammaskyError as error:  # arrays that are not stored
        return broken(job, error, work.folder)
    return done


def late(job: Job) -> Outcome:
    """The outcome of a member that took longer than it may."""
    limit = f"took longer than its time limit of {job.limit / 3600:g} h"
    return Outcome("late", attempts=job.attempt, error=f"{limit}; raise hours, or make it shorter")


def broken(job: Job, error: Exception, folder: Path) -> Outcome:
    """The outcome of an attempt that an exception ended."""
    line = str(error) if isinstance(error, GammaskyError) else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return Outcome(ending_of(error, folder), attempts=job.attempt, error=line, trace=trace)


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
def _time_limit(seconds: float, interrupt: Interrupt | None) -> Iterator[threading.Event]:
    """Interrupt the body when the time is up, with the event set; compiled code is heard of when it has ended."""
    too_late, lock, ended = threading.Event(), threading.Lock(), False

    def expire() -> None:
        with lock:
            if ended:
                return
            too_late.set()
            if interrupt:
                interrupt()

    if seconds == math.inf or interrupt is None:
        yield too_late
        return
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), expire)
    timer.daemon = True
    timer.start()
    try:
        yield too_late
    finally:
        with lock:  # from here on it is too late to interrupt
            ended = True
        timer.cancel()
