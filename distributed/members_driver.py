"""The driver of a campaign: its members, how far they are, and the table of their results."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from gammasky.distributed.board import Board
from gammasky.distributed.driver import Driver
from gammasky.distributed.folder import Places, write_failure, write_light
from gammasky.distributed.manifest import Listed
from gammasky.distributed.member import Member, Resources, Task
from gammasky.distributed.runners.base import Job, Outcome, Runner, Running, Session
from gammasky.distributed.status import Ended, Status, numbers_of, read_running, seconds_left, write_running
from gammasky.distributed.table import row_of, write_csv, written_at_the_end
from gammasky.distributed.undertaking import Undertaking

BEAT_SECONDS = 1.0  # between two looks at the members at work
TABLE_SECONDS = 60.0  # between two tables of results,
TABLE_SHARE = 0.02  # unless that would take more than this part of the driver's time
TIMES = 20  # the plan's estimate: a time limit where the user sets none. Estimates are of one idle core
SHORTEST_LIMIT = 3600.0  # but not below this: to compile alone may take minutes
RECENT = 8  # members that have ended, and are still shown


def time_limit(resources: Resources, cost: float) -> float:
    """Time [s] that one attempt may take: what the user says, or TIMES the estimate."""
    if resources.hours is not None:
        return resources.hours * 3600 or math.inf
    return max(TIMES * cost, SHORTEST_LIMIT)


class MembersDriver(Driver):
    """Brings the members of a campaign to their ends.

    Args:
        places: the campaign's folder, held.
        listed: its members.
        outcomes: of those that have ended already, by key; the others are added.
        board: shows how far it is.
        keep_going, again: see `Driver`. retried: going on tries what has failed again, unasked.
    """

    def __init__(
        self,
        places: Places,
        listed: Sequence[Listed],
        outcomes: dict[str, Outcome],
        board: Board,
        *,
        keep_going: bool,
        again: str,
        retried: bool,
    ) -> None:
        super().__init__(
            places,
            again=again,
            keep_going=keep_going,
            remedy=f"see {places.failed}, correct it, and {again}{'' if retried else ' and `retry_failed=True`'} (with"
            " `keep_going=True`, if the others are worth a try)",
        )
        self.outcomes = outcomes
        self._board, self._listed = board, {member.key: member for member in listed}
        self._recent: deque[Ended] = deque(maxlen=RECENT)
        self._left = sum(member.cost for member in listed if member.key not in outcomes)
        self._pace = (0.0, 0.0)  # estimated and true time of what is done
        self._beat = self._tabled = -float("inf")
        self._table_took = 0.0

    def run(
        self,
        members: Mapping[str, Member],
        undertaking: Undertaking,
        runner: Runner,
        task: Task,
        resources: Resources,
    ) -> None:
        """Run all members that have not ended; see `Driver.drive`.

        Raises:
            InputError: no workers.
        """
        if missing := [key for key in self._listed if key not in self.outcomes]:
            self.waiting.extend(self._jobs(missing, members, task, resources, runner.lanes))
        others = [job.resources for job in self.waiting if job.resources is not None]
        for scratch in self.places.scratch.iterdir():  # of a driver that was killed before it could
            if scratch.name in self.outcomes and self.outcomes[scratch.name].ending == "done":
                self.remove_scratch(scratch.name)
        try:
            with written_at_the_end(self._write_table):
                if self.waiting:
                    undertaking.drive(self, runner, task, resources, others)
        finally:
            self.places.running.unlink(missing_ok=True)
        self._board.show(self._status([], 0), last=True)

    def _jobs(
        self, keys: Iterable[str], members: Mapping[str, Member], task: Task, resources: Resources, lanes: int
    ) -> list[Job]:
        """First attempts; those of one structure follow each other, where they may be side by side."""
        structure = getattr(task, "structure", None) if lanes > 1 else None
        jobs = []
        for key in keys:
            name, spec, own = self._listed[key].name, members[key].spec, members[key].resources
            limit = time_limit(own or resources, self._listed[key].cost * lanes)
            alike = structure(spec) if structure else None
            jobs.append(Job(key, name, spec, limit=limit, structure=alike, resources=own))
        first: dict[str | None, int] = {}
        for number, job in enumerate(jobs):
            first.setdefault(job.structure, number)
        return sorted(jobs, key=lambda job: first[job.structure])

    def ended(self, job: Job, outcome: Outcome) -> None:
        """See `Driver.ended`."""
        cost = self._listed[job.key].cost
        self.outcomes[job.key] = outcome
        self._left -= cost
        if outcome.ending == "done":
            self._pace = (self._pace[0] + cost, self._pace[1] + outcome.seconds)
            self.remove_scratch(job.key)
        else:
            write_failure(self.places, job.key, job.name, outcome)
        state = "done" if outcome.ending == "done" else "failed"
        self._recent.appendleft(Ended(job.name, state, outcome.seconds, numbers_of(outcome.row), outcome.error))

    def turn(self, session: Session) -> None:
        """Once a second: who is at work, and what to tell."""
        now = time.monotonic()
        if now - self._beat < BEAT_SECONDS:
            return
        self._beat = now
        running = session.running()
        if running is None:
            running = [member for member in read_running(self.places) if member.key in self.at_work]
        else:
            write_running(self.places, running)
        state = self._status(running, session.slots())
        said = {"seconds_left": state.seconds_left, "recent": [asdict(ended) for ended in self._recent]}
        write_light(self.places.driver, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **said}))
        self._board.show(state)
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
        ended = [(member, self.outcomes[key]) for key, member in self._listed.items() if key in self.outcomes]
        write_csv(self.places.table, [row_of(member, outcome) for member, outcome in ended])
        self._tabled = time.monotonic()
        self._table_took = self._tabled - began
