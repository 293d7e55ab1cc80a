"""Workers of several kinds at once: members that ask for other resources than the rest have seats of their own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain

from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Job, Outcome, Running, Session
from gammasky.engine.interrupt import Interrupts

WINDOW = 256  # jobs that wait here


class SeveralSessions:
    """See `Session`: one session for each kind, side by side on the same machines.

    A kind whose members are done leaves its room to the others; while two kinds have work, they share what there is.

    Args:
        open_one: the session of a kind; raises InputError where no machine has what it asks for.
        usual: what a job gets that asks for nothing else.
        others: kinds that are known beforehand, which are opened at once.
        workers: members at once, of all kinds together; None: as many as there is room for.
    """

    def __init__(
        self,
        open_one: Callable[[Resources], Session],
        usual: Resources,
        others: Sequence[Resources],
        workers: int | None,
    ) -> None:
        self._open_one, self._usual, self._workers = open_one, usual, workers
        self.sessions: dict[Resources, Session] = {}
        self._queue: deque[Job] = deque()
        self._at_work: dict[str, Resources] = {}  # by the key of the job
        for resources in dict.fromkeys((usual, *others)):
            self._session(resources)

    def _session(self, resources: Resources) -> Session:
        if resources not in self.sessions:
            self.sessions[resources] = self._open_one(resources)
        return self.sessions[resources]

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return self._session(self._usual).interrupts()

    def slots(self) -> int:
        """See `Session.slots`: of the kind that most members have room for."""
        return max(session.slots() for session in self.sessions.values())

    def room(self) -> int:
        """See `Session.room`."""
        return max(WINDOW - len(self._queue), 0)

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._queue.append(job)

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`."""
        self._hand_on()
        busy = set(self._at_work.values())
        ended: list[tuple[Job, Outcome]] = []
        if not busy:
            time.sleep(seconds)
        for resources, session in list(self.sessions.items()):
            if busy and resources not in busy:
                session.leave_room()
            ended += session.poll(seconds / len(busy) if resources in busy else 0.0)
        for job, _ in ended:
            del self._at_work[job.key]
        return ended

    def _hand_on(self) -> None:
        """Give each kind what it has room for, and all of them no more than workers."""
        left: deque[Job] = deque()
        room: dict[Resources, int] = {}
        while self._queue:
            job = self._queue.popleft()
            resources = job.resources or self._usual
            session = self._session(resources)
            room.setdefault(resources, session.room())
            if room[resources] < 1 or (self._workers is not None and len(self._at_work) >= self._workers):
                left.append(job)
                continue
            room[resources] -= 1
            self._at_work[job.key] = resources
            session.submit(job)
        self._queue = left

    def running(self) -> list[Running] | None:
        """See `Session.running`."""
        told = [session.running() for session in self.sessions.values()]
        known = [members for members in told if members is not None]
        return None if len(known) < len(told) else sorted(chain(*known), key=lambda member: member.name)

    def tries_elsewhere(self) -> bool:
        """See `Session.tries_elsewhere`."""
        return self._session(self._usual).tries_elsewhere()

    def leave_room(self) -> None:
        """See `Session.leave_room`."""
        for session in self.sessions.values():
            session.leave_room()

    def stop(self) -> None:
        """See `Session.stop`."""
        self._queue.clear()
        for session in self.sessions.values():
            session.stop()
