"""The driver's loop: hand out members, take in how they ended, try again what was lost, tell how far it is.

Nothing here grows with the results: workers store those themselves, and what comes back is a row. At most a window of
members is handed out at a time.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gammasky.distributed.board import Board
from gammasky.distributed.folder import Listed, Places, write_failure, write_light
from gammasky.distributed.runners.base import Job, Outcome, Runner, Session, Work
from gammasky.distributed.status import Ended, Running, Status, numbers_of, read_running, seconds_left
from gammasky.distributed.table import read_failure, row_of, write_csv
from gammasky.engine.errors import InputError

ATTEMPTS = 5  # at a member whose workers are lost
BACKOFF_SECONDS = 1.0  # before the second attempt; twice as long before each other
BEAT_SECONDS = 1.0  # between two looks at the members at work
TABLE_SECONDS = 60.0  # between two tables of results,
TABLE_SHARE = 0.02  # unless that would take more than this part of the driver's time
RECENT = 8  # members that have ended, and are still shown


class Drive:
    """Brings the members of a campaign to their ends.

    Args:
        places: the campaign's folder, held.
        listed: its members.
        outcomes: of those that have ended already, by key; the others are added.
    """

    def __init__(self, places: Places, listed: Sequence[Listed], outcomes: dict[str, Outcome]) -> None:
        self.outcomes = outcomes
        self._places, self._listed = places, {member.key: member for member in listed}
        self._waiting: deque[Job] = deque()
        self._later: list[tuple[float, str, Job]] = []  # a heap of attempts, by the time of their turn
        self._at_work: dict[str, Job] = {}
        self._recent: deque[Ended] = deque(maxlen=RECENT)
        self._left = sum(member.cost for member in listed if member.key not in outcomes)
        self._pace = (0.0, 0.0)  # estimated and true time of what is done
        self._beat = self._tabled = -float("inf")
        self._table_took = 0.0

    def run(self, specs: Mapping[str, dict[str, Any]], work: Work, runner: Runner, board: Board) -> None:
        """Run all members that have not ended.

        Raises:
            InputError: no workers, or such that do not see the folder or cannot load the task.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what ran has ended.
        """
        self._waiting.extend(
            Job(key, member.name, specs[key]) for key, member in self._listed.items() if key not in self.outcomes
        )
        for scratch in self._places.scratch.iterdir():  # of a driver that was killed before it could
            if scratch.name in self.outcomes and self.outcomes[scratch.name].ending == "done":
                _remove(scratch)
        try:
            if self._waiting:
                with runner.session(work) as session:
                    self._loop(session, board)
        finally:
            self._write_table()
        board.show(self._status([], 0), last=True)

    def _loop(self, session: Session, board: Board) -> None:
        with session.interrupts() as interrupts:
            try:
                while self._waiting or self._later or self._at_work:
                    self._hand_out(session)
                    self._look(session, board)
                    for job, outcome in session.poll(BEAT_SECONDS / 4):
                        self._take(job, outcome)
                    interrupts.raise_if_pending()
            except BaseException:
                session.stop()
                raise

    def _hand_out(self, session: Session) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._waiting.appendleft(heapq.heappop(self._later)[2])
        for _ in range(min(session.room(), len(self._waiting))):
            job = self._waiting.popleft()
            self._at_work[job.key] = job
            session.submit(job)

    def _take(self, job: Job, outcome: Outcome) -> None:
        """Note how an attempt ended; one that was lost is put back."""
        del self._at_work[job.key]
        if outcome.ending == "apart":
            raise InputError(_apart(self._places.folder, outcome))
        if outcome.ending == "lost":
            (self._places.live / f"{job.key}.json").unlink(missing_ok=True)
            said = read_failure(self._places, job.key)  # a worker that ended itself for the time limit
            if said is None and job.attempt < ATTEMPTS:
                turn = time.monotonic() + BACKOFF_SECONDS * 2 ** (job.attempt - 1)
                heapq.heappush(self._later, (turn, job.key, replace(job, attempt=job.attempt + 1)))
                return
            outcome = said or replace(outcome, error=f"lost {ATTEMPTS} times, last: {outcome.error}")
        self._end(job, outcome)

    def _end(self, job: Job, outcome: Outcome) -> None:
        cost = self._listed[job.key].cost
        self.outcomes[job.key] = outcome
        self._left -= cost
        if outcome.ending == "done":
            self._pace = (self._pace[0] + cost, self._pace[1] + outcome.seconds)
            _remove(self._places.scratch / job.key)
        else:
            write_failure(self._places, job.key, job.name, outcome)
        state = "done" if outcome.ending == "done" else "failed"
        self._recent.appendleft(Ended(job.name, state, outcome.seconds, numbers_of(outcome.row), outcome.error))

    def _look(self, session: Session, board: Board) -> None:
        """Once a second: who is at work, and what to tell."""
        now = time.monotonic()
        if now - self._beat < BEAT_SECONDS:
            return
        self._beat = now
        running = [member for member in read_running(self._places) if member.key in self._at_work]
        state = self._status(running, session.slots())
        said = {"seconds_left": state.seconds_left, "recent": [asdict(ended) for ended in self._recent]}
        write_light(self._places.driver, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **said}))
        board.show(state)
        if now - self._tabled > max(TABLE_SECONDS, self._table_took / TABLE_SHARE):
            self._write_table()

    def _status(self, running: Sequence[Running], slots: int) -> Status:
        under_way = [(self._listed[member.key].cost, member.fraction) for member in running]
        done = sum(outcome.ending == "done" for outcome in self.outcomes.values())
        waiting = max(self._left - sum(cost for cost, _ in under_way), 0.0)
        return Status(
            total=len(self._listed),
            done=done,
            failed=len(self.outcomes) - done,
            running=tuple(running),
            recent=tuple(self._recent),
            seconds_left=seconds_left(waiting, under_way, self._pace, slots),
            driver="this process" if slots else "",
        )

    def _write_table(self) -> None:
        began = time.monotonic()
        ended = [key for key in self._listed if key in self.outcomes]
        write_csv(self._places.table, [row_of(self._listed[key], self.outcomes[key]) for key in ended])
        self._tabled = time.monotonic()
        self._table_took = self._tabled - began


def _apart(folder: Path, outcome: Outcome) -> str:
    if outcome.trace:
        return f"task: a worker cannot load it: {outcome.error}; install the same gammasky on every node"
    return f"folder: a worker does not see {outcome.error}; expected storage that all nodes share, got {folder}"


def _remove(folder: Path) -> None:
    """Remove a scratch folder; on shared storage a name may go a moment later than its file."""
    shutil.rmtree(folder, ignore_errors=True)
