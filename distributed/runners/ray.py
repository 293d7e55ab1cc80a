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
from gammasky.distributed.runners import watch
from gammasky.distributed.runners.base import Job, Outcome, Running, Work
from gammasky.distributed.runners.connect import autoscaled, check_room, connected, room_on
from gammasky.distributed.runners.hub import Sign, start_hub
from gammasky.distributed.runners.seat import environment, seat_class
from gammasky.distributed.runners.seats import Seat, Seats
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
        workers: members at once; None: as many as there is room for.

    Raises:
        InputError: `workers` is not a positive whole number.
    """

    def __init__(self, address: str = "auto", workers: int | None = None) -> None:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: expected a whole number of at least 1, got {workers!r}")
        self.address, self.workers = address, workers

    @contextmanager
    def session(self, work: Work) -> Iterator[RaySession]:
        """See `Runner.session`."""
        with connected(self.address, self.workers, work.resources) as ray:
            check_room(ray, work.resources)
            session = RaySession(ray, work, self.workers)
            try:
                yield session
            finally:
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
        self._seats = Seats(self._open, self._end)
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

    def _busy(self) -> list[Seat]:
        return [seat for seat in self._seats.seats if seat.job]

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`."""
        most = self.slots() + self._more
        self._seats.hire(min(self._workers or most, most), len(self._queue) + len(self._busy()))
        self._seat_jobs()
        waits = {seat.opening or seat.reference: seat for seat in self._seats.seats if not seat.is_free}
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
        """Give every free seat a member; leave the room of those that have long been free to others."""
        now = time.monotonic()
        for seat in [seat for seat in self._seats.seats if seat.is_free]:
            job = next((job for job in self._queue if self._seats.may_take(seat, job)), None)
            if job:
                self._queue.remove(job)
                seat.job, seat.began, seat.reference = job, now, seat.actor.work.remote(job)
            elif now - seat.idle_since > IDLE_SECONDS or self._seats.needs_fresh(seat, self._queue):
                self._seats.dismiss(seat)

    def _heard(self, seat: Seat, reference: Any) -> list[tuple[Job, Outcome]]:
        """What a seat has said: that it is open, or how a member ended there."""
        job = seat.job
        try:
            said = self._ray.get(reference)
        except (self._ray.exceptions.RayError, OSError, MemoryError) as error:
            cause = getattr(error, "cause", None) or error
            line = f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
            if job is None:
                self._seats.stumbled(seat, line)
                return []
            self._seats.dismiss(seat)
            return [(job, Outcome("lost", attempts=job.attempt, error=line, trace=str(error), seat=seat.name))]
        if job is None:
            self._seats.opened(seat, said, self._nodes)
            return []
        if said.ending == "apart":
            self._seats.set_apart(seat, seat.place[0], seat.host, said.error, self._nodes)
        else:
            self._seats.did(seat, said.ending == "done")
        return [(job, replace(said, seat=seat.name))]

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
            job, trouble = seat.job, wrong.get(seat.name)
            too_late = job is not None and time.monotonic() - seat.began > job.limit
            if trouble is None and not too_late:
                continue
            if trouble == "silent":
                self._kill(seat)
            self._seats.dismiss(seat)
            if job:
                given_up.append((job, replace(_given_up(job, trouble), seat=seat.name)))
        return given_up

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
        for seat in self._busy():
            job, sign, seconds = seat.job, self._signs.get(seat.name), time.monotonic() - seat.began
            assert job
            fraction, values = sign[3] if sign and sign[2] == job.key else (0.0, {})
            found.append(Running(job.key, job.name, fraction, seconds, job.attempt, values, seat.host, seat.pid))
        return sorted(found, key=lambda member: member.name)

    def stop(self) -> None:
        """See `Session.stop`."""
        self._queue.clear()
        self._hub.end.remote()
        left = [seat.reference for seat in self._busy()]
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
        options: dict[str, Any] = {"label_selector": {"ray.io/node-id": f"!in({','.join(apart)})"}} if apart else {}
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


def _given_up(job: Job, trouble: str | None) -> Outcome:
    if trouble == "silent":
        return Outcome("lost", attempts=job.attempt, error="its worker does not answer")
    if trouble == "standstill":
        minutes = watch.STANDSTILL * watch.LOOK_SECONDS / 60
        return Outcome("late", attempts=job.attempt, error=f"made no progress for {minutes:.0f} min")
    return late(job)


def _kill(pid: int) -> None:
    """A task of Ray's, on the node of a seat that is frozen."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended by now
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            os.kill(pid, signal.SIGKILL)
