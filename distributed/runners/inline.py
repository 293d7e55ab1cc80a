"""Members in this process, one after the other or side by side: for tests, for debugging, and where there is no Ray."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from types import FrameType

from gammasky.distributed.attempt import attempt
from gammasky.distributed.folder import Places
from gammasky.distributed.runners.base import Job, Outcome, Running, Session, Work, checked_lanes
from gammasky.distributed.runners.lanes import LanesSession
from gammasky.distributed.runners.seat import about_of
from gammasky.distributed.status import write_running
from gammasky.engine.interrupt import Interrupts, asked, interrupt_main, noticed

REPORT_SECONDS = 1.0  # between two writes of the progress


class InlineRunner:
    """Runs members here. A time limit ends Python code only: compiled code of this process runs to its end.

    Args:
        lanes: members side by side, each in a thread of its own.
    """

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = checked_lanes(lanes)

    @contextmanager
    def session(self, work: Work) -> Iterator[Session]:
        """See `Runner.session`."""
        for resources in work.others:  # all of them are this process
            about_of(replace(work, resources=resources))
        yield InlineSession(work) if self.lanes == 1 else LanesSession(replace(work, lanes=self.lanes))


class InlineSession:
    """See `Session`."""

    def __init__(self, work: Work) -> None:
        self._work, self._about = work, about_of(work)
        self._queue: deque[Job] = deque()
        self._interrupts = _AtOnce()
        self._written = -float("inf")

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return self._interrupts

    def slots(self) -> int:
        """See `Session.slots`."""
        return 1

    def room(self) -> int:
        """See `Session.room`."""
        return 1 - len(self._queue)

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._queue.append(job)

    def tries_elsewhere(self) -> bool:
        """See `Session.tries_elsewhere`."""
        return False

    def running(self) -> None:
        """See `Session.running`: each report writes them down."""

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`: the job is run here."""
        if not self._queue:
            time.sleep(seconds)
            return []
        job, places, began = self._queue.popleft(), Places(self._work.folder), time.monotonic()

        def tell(fraction: float, values: dict[str, float]) -> None:
            now = time.monotonic()
            if now - self._written >= REPORT_SECONDS:
                self._written = now
                here = (socket.gethostname(), os.getpid())
                write_running(places, [Running(job.key, job.name, fraction, now - began, job.attempt, values, *here)])

        time_is_up = Event()

        def expire() -> None:
            time_is_up.set()
            interrupt_main()

        outcome = attempt(self._work, job, tell, self._about, expire)
        if time_is_up.is_set():  # that was the signal, and others go on
            self._interrupts.forget()
        if outcome.ending != "done":  # what a signal has made of a member is no failure of it
            self._interrupts.raise_if_pending()
        return [(job, outcome)]

    def leave_room(self) -> None:
        """See `Session.leave_room`: this process is needed."""

    def stop(self) -> None:
        """See `Session.stop`: nothing runs any more."""
        self._queue.clear()


class _AtOnce(Interrupts):
    """Ctrl-C reaches the member at work, which may write its checkpoint first.

    It is remembered, too: raised within a hook of garbage collection, of which JAX has one, it reaches nobody. Nor has
    anybody noticed it before somebody catches it.
    """

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._pending = True
        raise KeyboardInterrupt

    def forget(self) -> None:
        """The signal of a time limit has been acted on, and all goes on, unless somebody else has sent one, too."""
        noticed.clear()  # first: of one that comes now nobody has noticed anything
        self._pending = asked.is_set()
