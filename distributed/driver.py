"""The loop of a driver: hand out jobs, take in how they ended, try again what was lost, and end all of it together."""

from __future__ import annotations

import heapq
import shutil
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace

from gammasky.distributed.folder import Places, read_failure
from gammasky.distributed.runners.base import Job, Outcome, Session
from gammasky.engine.errors import InputError

ATTEMPTS = 5  # at a job whose workers are lost
BACKOFF_SECONDS = 1.0  # before the second attempt; twice as long before each other
POLL_SECONDS = 0.25


class Driver(ABC):
    """Brings jobs to their ends; what they are, and what follows from their outcomes, a subclass knows.

    Nothing here grows with the results: workers store those themselves, and what comes back is a row. At most as many
    jobs as the session has room for are handed out at a time.

    Args:
        places: of the folder, held.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.waiting: deque[Job] = deque()
        self.at_work: dict[str, Job] = {}
        self._later: list[tuple[float, str, Job]] = []  # a heap of attempts, by the time of their turn

    @abstractmethod
    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take in how a job ended for good."""

    @abstractmethod
    def turn(self, session: Session) -> None:
        """Add to `waiting` what is to be done next, and tell how far the work is.

        Called in each turn of the loop, which ends when nothing waits and nothing is at work.
        """

    def drive(self, session: Session) -> None:
        """Bring all jobs to their ends.

        Raises:
            InputError: workers that do not see the folder or cannot load the task.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what ran has ended, and goes on from its checkpoints.
        """
        with session.interrupts() as interrupts:
            try:
                self.turn(session)
                while self.waiting or self._later or self.at_work:
                    self._hand_out(session)
                    for job, outcome in session.poll(POLL_SECONDS):
                        self._take(job, outcome)
                    interrupts.raise_if_pending()
                    self.turn(session)
            except BaseException:
                session.stop()
                raise

    def _hand_out(self, session: Session) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self.waiting.appendleft(heapq.heappop(self._later)[2])
        for _ in range(min(session.room(), len(self.waiting))):
            job = self.waiting.popleft()
            self.at_work[job.key] = job
            session.submit(job)

    def _take(self, job: Job, outcome: Outcome) -> None:
        """Note how an attempt ended; one that was lost is put back."""
        del self.at_work[job.key]
        if outcome.ending == "apart":
            raise InputError(self._apart(outcome))
        if outcome.ending == "lost":
            (self.places.live / f"{job.key}.json").unlink(missing_ok=True)
            said = read_failure(self.places, job.key)  # a worker that ended itself for the time limit
            if said is None and job.attempt < ATTEMPTS:
                turn = time.monotonic() + BACKOFF_SECONDS * 2 ** (job.attempt - 1)
                heapq.heappush(self._later, (turn, job.key, replace(job, attempt=job.attempt + 1)))
                return
            outcome = said or replace(outcome, error=f"lost {ATTEMPTS} times, last: {outcome.error}")
        self.ended(job, outcome)

    def _apart(self, outcome: Outcome) -> str:
        if outcome.trace:
            return f"task: a worker cannot load it: {outcome.error}; install the same gammasky on every node"
        folder = self.places.folder
        return f"folder: a worker does not see {outcome.error}; expected storage that all nodes share, got {folder}"

    def remove_scratch(self, key: str) -> None:
        """Remove the checkpoints of what has ended; on shared storage a name may go a moment later than its file."""
        shutil.rmtree(self.places.scratch / key, ignore_errors=True)
