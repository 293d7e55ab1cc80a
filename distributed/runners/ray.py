"""Members on Ray: on this machine or a cluster, on seats that fit one after the other.

A seat is told its member and says in a few lines how it ended; the result itself goes from the seat to the shared
storage. Ray retries nothing: a member whose seat was lost comes back to the driver, which decides.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gammasky.distributed.attempt import late
from gammasky.distributed.member import Resources
from gammasky.distributed.runners import watch
from gammasky.distributed.runners.base import Job, Outcome, Running, Session, Work, checked_lanes
from gammasky.distributed.runners.connect import autoscaled, check_room, connected, room_on
from gammasky.distributed.runners.hub import Sign, start_hub
from gammasky.distributed.runners.seat import environment, seat_class
from gammasky.distributed.runners.seats import Seat, Seats
from gammasky.distributed.runners.several import SeveralSessions
from gammasky.engine.errors import InputError
from gammasky.engine.interrupt import Interrupts

WINDOW = 256  # seats that a cluster which starts nodes by itself is asked for at once, and jobs that wait for a seat
GRACE_SECONDS = 10.0  # that a member has to write its checkpoint when it is told to end
IDLE_SECONDS = 30.0  # after which a seat without work leaves its room to others
REFRESH_SECONDS = 2.0  # between two looks at the nodes


class RayRunner:
    """Runs members on Ray.

    Args:
        address: "auto" (the running cluster, else this machine), "local", "ray://host:port" or "host:port".
        workers: seats, processes that work at once; None: as many as there is room for.
        lanes: members of one structure side by side on each seat, in threads.

    Raises:
        InputError: `workers` or `lanes` is not a positive whole number.
    """

    def __init__(self, address: str = "auto", workers: int | None = None, lanes: int = 1) -> None:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: expected a whole number of at least 1, got {workers!r}")
        self.address, self.workers, self.lanes = address, workers, checked_lanes(lanes)

    @contextmanager
    def session(self, work: Work) -> Iterator[Session]:
        """See `Runner.session`."""
        with connected(self.address, self.workers, work.resources, *work.others) as ray:
            opened: list[RaySession] = []

            def open_one(resources: Resources) -> RaySession:
                check_room(ray, resources)
                own = replace(work, resources=resources, lanes=self.lanes)
                opened.append(RaySession(ray, own, self.workers))
                return opened[-1]

            for resources in work.others:  # all of them, before any seat is opened
                check_room(ray, resources)
            try:
                if work.others:
                    yield SeveralSessions(
                        open_one, work.resources, work.others, self.workers and self.workers * self.lanes
                    )
                else:
                    yield open_one(work.resources)
            finally:
                for session in opened:
                    session.close()


class RaySession:
    """See `Session`."""

    def __init__(self, ray: Any, work: Work, workers: int | None) -> None:
        self._ray, self._workers, self._work = ray, workers, work
        try:
            pickled = ray.cloudpickle.dumps(work)
        except (TypeError, AttributeError, ValueError) as error:
            raise InputError(f"task: expected something that can be pickled: {error}") from error
        self._pickled = ray.put(pickled)
        self._hub = start_hub(ray)
        self._read, self._signs = self._hub.read.remote(), dict[str, Sign]()
        self._queue: deque[Job] = deque()
        self._seats = Seats(self._open, self._end, work.lanes)
        self._watch = watch.Watch()
        self._slots, self._more, self._looked = 0, 0, -float("inf")
        self._nodes: dict[str, str] = {}  # node with room for members -> host

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return Interrupts()

    def tries_elsewhere(self) -> bool:
        """See `Session.tries_elsewhere`."""
        return True

    def slots(self) -> int:
        """See `Session.slots`."""
        return self._most_seats() * self._work.lanes

    def _most_seats(self) -> int:
        """How many seats there can be, now."""
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._looked, nodes = time.monotonic(), self._ray.nodes()
            rooms = {node["NodeID"]: room_on([node], self._work.resources) for node in nodes}
            self._nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes if rooms[node["NodeID"]]}
            self._slots = sum(room for node, room in rooms.items() if node not in self._seats.apart)
            self._more = WINDOW if autoscaled(nodes) else 0
        return min(self._slots, self._workers or self._slots)

    def room(self) -> int:
        """See `Session.room`."""
        return max(WINDOW, 2 * self.slots()) - len(self._queue) - len(self._busy())

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._queue.append(job)

    def _busy(self) -> list[tuple[Seat, Job, float]]:
        """Every member at work, where, and since when."""
        return [(seat, job, began) for seat in self._seats.seats for job, began in seat.at_work.values()]

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`."""
        self._seat_jobs()
        waits = {seat.opening: seat for seat in self._seats.seats if seat.opening}
        waits |= {reference: seat for seat in self._seats.seats for reference in seat.at_work}
        if not waits:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(waits), num_returns=1, timeout=seconds)
        if ready:  # and all others that are
            ready, _ = self._ray.wait(list(waits), num_returns=len(waits), timeout=0)
        ended: list[tuple[Job, Outcome]] = []
        for reference in ready:
            ended += self._heard(waits[reference], reference)
        self._seat_jobs()
        if self._watch.due():
            ended += self._looked_after()
        return ended

    def _seat_jobs(self) -> None:
        """Open the seats that are wanted; give each the members that it has room for; end those that are long free.

        In this order: what has failed on one seat would else be tried there again where all others were just lost.
        """
        most = self._most_seats() + self._more
        self._seats.hire(min(self._workers or most, most), self._queue, self._nodes)
        now, given = time.monotonic(), True
        while given:  # one each at a time: members spread over all seats
            given = False
            for seat in [seat for seat in self._seats.seats if seat.opening is None]:
                job = next((job for job in self._queue if self._seats.may_take(seat, job)), None)
                if job:
                    self._queue.remove(job)
                    seat.at_work[seat.actor.work.remote(job)] = (job, now)
                    given = True
        for seat in [seat for seat in self._seats.seats if seat.is_free]:
            if now - seat.idle_since > IDLE_SECONDS or self._seats.needs_fresh(seat, self._queue):
                self._seats.dismiss(seat)

    def _heard(self, seat: Seat, reference: Any) -> list[tuple[Job, Outcome]]:
        """What a seat has said: that it is open, or how a member ended there."""
        if seat not in self._seats.seats:  # it was dismissed for what another of its members has said
            return []
        job, _ = seat.at_work.get(reference, (None, 0.0))
        try:
            said = self._ray.get(reference)
        except (self._ray.exceptions.RayError, OSError, MemoryError) as error:
            cause = getattr(error, "cause", None) or error
            line = f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
            if job is None:
                self._seats.stumbled(seat, line)
                return []
            return self._lost(seat, line, str(error))
        if job is None:
            self._seats.opened(seat, said, self._nodes)
            return []
        if said.ending != "apart":
            self._seats.did(seat, reference, said.ending == "done")
            return [(job, replace(said, seat=seat.name))]
        jobs = seat.jobs
        self._seats.set_apart(seat, seat.place[0], seat.host, said.error, self._nodes)
        return [(job, replace(said, attempts=job.attempt, seat=seat.name)) for job in jobs]

    def _lost(self, seat: Seat, error: str, trace: str = "") -> list[tuple[Job, Outcome]]:
        """End a seat; all that it works on is lost."""
        jobs = seat.jobs
        self._seats.dismiss(seat)
        return [(job, Outcome("lost", attempts=job.attempt, error=error, trace=trace, seat=seat.name)) for job in jobs]

    def _looked_after(self) -> list[tuple[Job, Outcome]]:
        """The members whose seats do not answer, do not come on, or have taken too long; those seats are ended."""
        wrong = {}
        if self._ray.wait([self._read], timeout=0)[0]:
            with suppress(self._ray.exceptions.RayError):  # the hub is being started again: nothing is known of seats
                self._signs = self._ray.get(self._read)
                wrong = self._watch.look({seat.name: self._signs.get(seat.name) for seat in self._seats.seats})
            self._read = self._hub.read.remote()
        given_up: list[tuple[Job, Outcome]] = []
        for seat in list(self._seats.seats):
            if wrong.get(seat.name) == watch.SILENT:
                self._kill(seat)
                given_up += self._lost(seat, "its worker does not answer")
                continue
            for job, began in seat.at_work.values():
                if outcome := self._given_up(job, began, wrong.get(seat.name)):
                    given_up += self._ended_for(seat, job, outcome)
                    break
        return given_up

    def _given_up(self, job: Job, began: float, hangs: str | None) -> Outcome | None:
        """How a member ended that takes too long or stands still; None: it does not."""
        grace = GRACE_SECONDS if self._work.lanes > 1 else 0.0  # in which it may end by itself
        if time.monotonic() - began > job.limit + grace:
            return late(job)
        return _stands_still(job) if job.key == hangs else None

    def _ended_for(self, seat: Seat, guilty: Job, outcome: Outcome) -> list[tuple[Job, Outcome]]:
        """End a seat for what one of its members does; all others are lost."""
        all_lost = self._lost(seat, f"beside {guilty.name}, which {outcome.error.partition(';')[0]}")
        return [(job, replace(outcome, seat=seat.name) if job is guilty else lost) for job, lost in all_lost]

    def _kill(self, seat: Seat) -> None:
        """End a seat from another process on its node: Ray asks it to end itself, which a frozen one does not."""
        *_, host, pid = self._signs[seat.name]
        nodes = {name: node for node, name in self._nodes.items()}
        if host in nodes:
            there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(nodes[host], soft=False)
            self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_kill).remote(pid)

    def running(self) -> list[Running]:
        """See `Session.running`."""
        found = []
        for seat, job, began in self._busy():
            sign, seconds = self._signs.get(seat.name), time.monotonic() - began
            _, fraction, values = sign[1].get(job.key, (0, 0.0, {})) if sign else (0, 0.0, {})
            found.append(Running(job.key, job.name, fraction, seconds, job.attempt, values, seat.host, seat.pid))
        return sorted(found, key=lambda member: member.name)

    def leave_room(self) -> None:
        """See `Session.leave_room`."""
        for seat in [seat for seat in self._seats.seats if seat.is_free]:
            self._seats.dismiss(seat)

    def stop(self) -> None:
        """See `Session.stop`."""
        self._queue.clear()
        self._hub.end.remote()
        left = [reference for seat in self._seats.seats for reference in seat.at_work]
        if left:
            self._ray.wait(left, num_returns=len(left), timeout=GRACE_SECONDS)

    def close(self) -> None:
        """End all processes."""
        for seat in list(self._seats.seats):
            self._seats.dismiss(seat)
        self._ray.kill(self._hub)

    def _open(self, name: str, apart: Iterable[str]) -> tuple[Any, Any]:
        """The actor of a new seat, and what its `open` will return."""
        resources = self._work.resources
        options: dict[str, Any] = (
            {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(apart))})"}} if apart else {}
        )
        if resources.accelerator:
            options["accelerator_type"] = resources.accelerator
        if self._work.lanes > 1:  # a thread for each; without them members run in the main thread
            options["max_concurrency"] = self._work.lanes
        actor = (
            self._ray.remote(seat_class())
            .options(
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                memory=int(resources.memory_gb * 1e9) or None,
                max_restarts=0,
                max_task_retries=0,
                runtime_env={"env_vars": environment(resources)},
                **options,
            )
            .remote()
        )
        return actor, actor.open.remote(name, str(self._work.folder), self._hub, [self._pickled])

    def _end(self, seat: Seat) -> None:
        self._ray.kill(seat.actor)
        self._hub.forget.remote(seat.name)


def _stands_still(job: Job) -> Outcome:
    minutes = watch.STANDSTILL * watch.LOOK_SECONDS / 60
    return Outcome("late", attempts=job.attempt, error=f"made no progress for {minutes:.0f} min")


def _kill(pid: int) -> None:
    """A task of Ray's, on the node of a seat that is frozen."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended by now
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            os.kill(pid, signal.SIGKILL)
