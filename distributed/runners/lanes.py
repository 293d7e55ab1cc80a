"""Members of one structure side by side in the driver's own process."""

from __future__ import annotations

import atexit
import os
import queue
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from gammasky.distributed.lanes import Lanes
from gammasky.distributed.runners.base import Job, Outcome, Running, Work
from gammasky.distributed.runners.seat import about_of
from gammasky.engine.interrupt import Interrupts, noticed

GRACE_SECONDS = 1.0  # that members have to write their checkpoints when they are told to end; who waits is a user


@dataclass(eq=False)
class _Lane:
    """A member at work: how far it is, and since when."""

    job: Job
    began: float = field(default_factory=time.monotonic)
    fraction: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def tell(self, fraction: float, values: dict[str, float]) -> None:
        self.fraction, self.values = fraction, values


class LanesSession:
    """See `Session`: members of one structure side by side in this process."""

    def __init__(self, work: Work) -> None:
        self._lanes, self._most = Lanes(work, about_of(work)), work.lanes
        self._queue: deque[Job] = deque()
        self._at_work: dict[str, _Lane] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._ended: queue.Queue[tuple[Job, Outcome]] = queue.Queue()

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return Interrupts()

    def slots(self) -> int:
        """See `Session.slots`."""
        return self._most

    def room(self) -> int:
        """See `Session.room`."""
        return self._most - len(self._queue) - len(self._at_work)

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._queue.append(job)

    def tries_elsewhere(self) -> bool:
        """See `Session.tries_elsewhere`."""
        return False

    def running(self) -> list[Running]:
        """See `Session.running`."""
        here, now = (socket.gethostname(), os.getpid()), time.monotonic()
        return [
            Running(key, lane.job.name, lane.fraction, now - lane.began, lane.job.attempt, lane.values, *here)
            for key, lane in self._at_work.items()
        ]

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`."""
        while self._queue and self._queue[0].may_join([lane.job for lane in self._at_work.values()]):
            self._begin(self._queue.popleft())
        ended: list[tuple[Job, Outcome]] = []
        try:
            ended.append(self._ended.get(timeout=seconds))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        for job, _ in ended:
            del self._at_work[job.key]
            self._threads.pop(job.key).join()
        return ended

    def _begin(self, job: Job) -> None:
        lane = self._at_work[job.key] = _Lane(job)
        run = lambda: self._ended.put((job, self._lanes.attempt(job, lane.tell)))  # noqa: E731
        # a daemon: one that is deaf shall not keep the process from its end
        thread = self._threads[job.key] = threading.Thread(target=run, daemon=True, name=f"lane {job.name}")
        thread.start()

    def leave_room(self) -> None:
        """See `Session.leave_room`: this process is needed."""

    def stop(self) -> None:
        """See `Session.stop`."""
        noticed.set()  # who waits for the signal to be heard need not end this process
        self._queue.clear()
        self._lanes.end()
        end = time.monotonic() + GRACE_SECONDS
        for thread in self._threads.values():
            thread.join(max(end - time.monotonic(), 0.0))
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        atexit.register(_leave, list(self._threads.values()), 130 if interrupted else 2)


def _leave(threads: Sequence[threading.Thread], code: int) -> None:
    """End this process with `code` at once: do not wait for a compiler that goes on, nor let it crash.

    Nothing is lost: files are written aside and renamed, checkpoints among them.
    """
    if any(thread.is_alive() for thread in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
