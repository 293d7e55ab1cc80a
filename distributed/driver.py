"""The loop of a driver: hand out jobs, take in how they ended, try again what was lost, and end all of it together."""

from __future__ import annotations

import heapq
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import replace

from gammasky.distributed.folder import Places
from gammasky.distributed.runners.base import Job, Outcome, Session
from gammasky.distributed.trouble import is_full, no_room
from gammasky.engine.errors import GammaskyError, InputError

ATTEMPTS = 5  # at a job whose workers are lost
FAILURES = 2  # on different seats, after which a job is given up
ALIKE = 10  # jobs given up for the same error, more than have ended otherwise, after which nothing is worth a try
BACKOFF_SECONDS = 1.0  # before the second attempt; twice as long before each other
POLL_SECONDS = 0.25
AGAIN = "go on with `resume=True`"
#: What a user of a search does where most trials fail alike.
CORRECT = f"correct it, and {AGAIN} and `retry_failed=True` (with `keep_going=True`, if the others are worth a try)"


class Driver(ABC):
    """Brings jobs to their ends; what they are, and what follows from their outcomes, a subclass knows.

    Nothing here grows with the results: workers store those themselves, and what comes back is a row. At most as many
    jobs as the session has room for are handed out at a time.

    Args:
        places: of the folder, held.
        keep_going: go on also where many jobs fail with one error.
        again: how the work goes on after an interrupt.
        remedy: what a user does after that.
    """

    def __init__(self, places: Places, *, keep_going: bool = False, again: str = AGAIN, remedy: str = "") -> None:
        self.places, self._again, self._remedy = places, again, remedy or f"correct it, and {again}"
        self.waiting: deque[Job] = deque()
        self.at_work: dict[str, Job] = {}
        self._later: list[tuple[float, str, Job]] = []  # a heap of attempts, by the time of their turn
        self._alike: Counter[str] = Counter()  # jobs that were given up, by their error without its numbers
        self._others = 0  # jobs that have ended otherwise
        self._keep_going = keep_going

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
            GammaskyError: storage that is full; too many jobs that fail with the same error.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what ran has ended, and goes on from its checkpoints.
        """
        with session.interrupts() as interrupts:
            try:
                self.turn(session)
                while self.waiting or self._later or self.at_work:
                    self._hand_out(session)
                    for job, outcome in session.poll(POLL_SECONDS):
                        self._take(job, outcome, session)
                    interrupts.raise_if_pending()
                    self.turn(session)
            except BaseException as error:
                session.stop()
                if isinstance(error, OSError) and is_full(error):
                    raise no_room(self.places.folder, str(error), self._again) from error
                raise

    def _hand_out(self, session: Session) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self.waiting.appendleft(heapq.heappop(self._later)[2])
        for _ in range(min(session.room(), len(self.waiting))):
            job = self.waiting.popleft()
            self.at_work[job.key] = job
            session.submit(job)

    def _take(self, job: Job, outcome: Outcome, session: Session) -> None:
        """Note how an attempt ended; one that was lost, or has failed on one seat only, is put back."""
        del self.at_work[job.key]
        if outcome.ending == "full":
            raise no_room(self.places.folder, outcome.error, self._again)
        if outcome.ending == "apart":  # the session uses that node no more, or has raised
            if not session.tries_elsewhere():
                raise InputError(outcome.error)
            self.waiting.appendleft(job)
            return
        again = replace(job, attempt=job.attempt + 1, avoid=(*job.avoid, outcome.seat) if outcome.seat else job.avoid)
        if outcome.ending == "lost":
            if job.attempt - job.failures < ATTEMPTS:
                turn = time.monotonic() + BACKOFF_SECONDS * 2 ** (job.attempt - 1)
                heapq.heappush(self._later, (turn, job.key, again))
                return
            outcome = replace(outcome, error=f"lost {ATTEMPTS} times, last: {outcome.error}")
        elif outcome.ending in ("failed", "late") and session.tries_elsewhere() and job.failures + 1 < FAILURES:
            self.waiting.append(replace(again, failures=job.failures + 1))
            return
        self.ended(job, outcome)
        self._compare(outcome)

    def _compare(self, outcome: Outcome) -> None:
        """Stop where most of what has ended failed with the same error: so will the rest.

        Raises:
            GammaskyError: with that error.
        """
        kind = re.sub(r"0x[0-9a-f]+|\d+", "#", outcome.error) if outcome.ending == "failed" else ""
        if not kind:
            self._others += 1
            return
        self._alike[kind] += 1
        if self._keep_going or self._alike[kind] < ALIKE:
            return
        if self._alike[kind] > self._alike.total() - self._alike[kind] + self._others:
            raise GammaskyError(
                f"{self._alike[kind]} fits have failed with the same error, and so would the others:"
                f" {outcome.error}; {self._remedy}"
            )

    def remove_scratch(self, key: str) -> None:
        """Remove the checkpoints of what has ended; on shared storage a name may go a moment later than its file."""
        shutil.rmtree(self.places.scratch / key, ignore_errors=True)
