"""Members one after the other, in this process: for tests, for debugging, and where there is no Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gammasky.distributed.attempt import attempt
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.engine.interrupt import Interrupts


class InlineRunner:
    """Runs members here. A time limit ends Python code only: compiled code of this process runs to its end."""

    @contextmanager
    def session(self, work: Work) -> Iterator[InlineSession]:
        """See `Runner.session`."""
        yield InlineSession(work)


class InlineSession:
    """See `Session`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._queue: deque[Job] = deque()

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return _AtOnce()

    def slots(self) -> int:
        """See `Session.slots`."""
        return 1

    def room(self) -> int:
        """See `Session.room`."""
        return 1 - len(self._queue)

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._queue.append(job)

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`: the job is run here."""
        if not self._queue:
            time.sleep(seconds)
            return []
        job = self._queue.popleft()
        return [(job, attempt(self._work.folder, lambda: self._work, job, own_process=False))]

    def stop(self) -> None:
        """See `Session.stop`: nothing runs any more."""
        self._queue.clear()


class _AtOnce(Interrupts):
    """Ctrl-C reaches the member at work, which may write its checkpoint first."""

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt
