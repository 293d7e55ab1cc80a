"""The driver's list of seats: which are open, what they work on, how they have done, and where no more are wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from gammasky.distributed.runners.base import Job
from gammasky.engine.errors import InputError

FAILURES = 2  # in a row, after which a seat ends its process
# before a new process in its place; twice as long after each that did no better
PAUSE_SECONDS, LONGEST_PAUSE = 1.0, 30.0
# after which a seat that is not open yet may be one for which there is no room; a busy machine takes minutes for one
SLOW_SECONDS = 180.0
OPENINGS = 5  # in a row that fail while no seat is open, after which there is no use in more

Place = tuple[str, ...]  # a node, and the GPUs there of which a seat holds a share


@dataclass(eq=False)
class Seat:
    """A seat, as the driver knows it.

    Attributes:
        name: its own, never used again.
        actor: of Ray's.
        opening: what `open` will return; None: it is open.
        at_work: what it works on, by what will return its outcome, and since when.
        failures: members in a row that were not done here.
        place, host, pid: where it is, once it is open.
        idle_since: when it was asked for, opened, or ended its last work.
        shuns: nodes that it was asked not to be on, for what waits has failed there.
    """

    name: str
    actor: Any
    opening: Any
    at_work: dict[Any, tuple[Job, float]] = field(default_factory=dict)
    failures: int = 0
    place: Place = ()
    host: str = ""
    pid: int = 0
    idle_since: float = 0.0
    shuns: frozenset[str] = frozenset()

    @property
    def is_free(self) -> bool:
        """Whether it works on nothing."""
        return self.opening is None and not self.at_work

    @property
    def jobs(self) -> list[Job]:
        """What it works on."""
        return [job for job, _ in self.at_work.values()]


class Seats:
    """All of them.

    Args:
        open_one: starts a seat's actor with this name, on none of these nodes; gives it, and what `open` will return.
        end_one: ends the process of a seat.
        lanes: members side by side on each.
    """

    def __init__(
        self, open_one: Callable[[str, Iterable[str]], tuple[Any, Any]], end_one: Callable[[Seat], None], lanes: int = 1
    ) -> None:
        self._open_one, self._end_one, self._lanes = open_one, end_one, lanes
        self.seats: list[Seat] = []
        self.apart: dict[str, str] = {}  # node -> why it is not used
        self._places: dict[str, Place] = {}  # of every seat that ever was open, by its name
        # processes in a row that ended for failures; when to try again
        self._worse: dict[Place, tuple[int, float]] = {}
        self._stumbles, self._not_before = 0, 0.0
        self._held_back = False  # seats that are wanted, until that time
        self._shuns = True  # False: there was no room on nodes where nothing has failed
        self._number = 0

    def hire(self, most: int, queue: Collection[Job], nodes: Iterable[str]) -> None:
        """Open seats until there is one for each member, but none yet in place of those that have just failed.

        Those that are not open yet and not wanted any more are given up: they may wait for room that never comes. Where
        all that waits has failed on a node, the new ones are on others, if these come to have room.

        Args:
            most: seats that there can be.
            queue: members that wait for a seat.
            nodes: all that have room for members.
        """
        now = time.monotonic()
        wanted = len(queue) + sum(len(seat.at_work) for seat in self.seats)
        for seat in [seat for seat in self.seats if seat.opening][: max(len(self.seats) - wanted, 0)]:
            self.dismiss(seat)
        slow = [seat for seat in self.seats if seat.opening and seat.idle_since < now - SLOW_SECONDS]
        for seat in [seat for seat in slow if seat.shuns]:
            self.dismiss(seat)
            self._shuns = False
        paused = sum(until > now for _, until in self._worse.values())
        missing = min(most - paused, wanted) - len(self.seats)
        self._held_back = missing > 0 and now < self._not_before
        if self._held_back:
            return
        shuns = self._failed_everywhere(queue, nodes) if self._shuns and missing > 0 else frozenset[str]()
        for _ in range(missing):
            self._number += 1
            name = f"seat {self._number}"
            self.seats.append(Seat(name, *self._open_one(name, {*self.apart, *shuns}), idle_since=now, shuns=shuns))

    def _failed_everywhere(self, queue: Iterable[Job], nodes: Iterable[str]) -> frozenset[str]:
        """The nodes on which every member that waits has failed; none, if no others are left."""
        failed = [{self._places[name][0] for name in job.avoid if name in self._places} for job in queue]
        common = frozenset(set.intersection(*failed)) if failed else frozenset[str]()
        return common if set(nodes) - self.apart.keys() - common else frozenset()

    def opened(self, seat: Seat, said: dict[str, Any], nodes: Iterable[str]) -> None:
        """A seat says what it is, or what its node lacks.

        Args:
            seat: of which `open` has returned.
            said: what it returned.
            nodes: all that have room for members.

        Raises:
            InputError: now none can be used.
        """
        if "apart" in said:
            self.set_apart(seat, said["node"], said["host"], said["apart"], nodes)
            return
        gpus = [str(number) for number in said["gpus"]]
        seat.opening, seat.idle_since = None, time.monotonic()
        seat.host, seat.pid, seat.place = said["host"], said["pid"], (said["node"], *gpus)
        self._places[seat.name] = seat.place
        self._stumbles, self._shuns = 0, True

    def stumbled(self, seat: Seat, line: str) -> None:
        """A seat could not open, for what may pass.

        Raises:
            InputError: none can, time and again.
        """
        self.dismiss(seat)
        self._stumbles += 1
        self._not_before = time.monotonic() + _pause(self._stumbles)
        if self._stumbles >= OPENINGS and not any(other.opening is None for other in self.seats):
            raise InputError(f"workers: none can be started, {OPENINGS} in a row have failed: {line}")

    def set_apart(self, seat: Seat, node: str, host: str, why: str, nodes: Iterable[str]) -> None:
        """Use a node no more; what its seats work on is lost with them.

        Raises:
            InputError: no node is left.
        """
        self.dismiss(seat)
        for other in [other for other in self.seats if other.is_free and other.place[0] == node]:
            self.dismiss(other)
        new = node not in self.apart
        self.apart[node] = why
        if not set(nodes) - self.apart.keys():
            others = f"; so it is on each of the {len(self.apart)} nodes" if len(self.apart) > 1 else ""
            raise InputError(f"{why}{others}")
        if new:
            print(f"gammasky: warning: node {host} is set apart: {why}", file=sys.stderr)

    def did(self, seat: Seat, reference: Any, done: bool) -> None:
        """A seat has ended its work on a member; after FAILURES in a row its process is ended, and replaced.

        Not before all others that it works on have ended, too.
        """
        del seat.at_work[reference]
        seat.idle_since = time.monotonic()
        seat.failures = 0 if done else seat.failures + 1
        if done:
            self._worse.pop(seat.place, None)
        if seat.at_work:
            return
        if seat.place[0] in self.apart:
            self.dismiss(seat)
        elif seat.failures >= FAILURES:
            times = self._worse.get(seat.place, (0, 0.0))[0] + 1
            self._worse[seat.place] = (times, time.monotonic() + _pause(times))
            self.dismiss(seat)

    def dismiss(self, seat: Seat) -> None:
        """End the process of a seat."""
        if seat in self.seats:
            self.seats.remove(seat)
            self._end_one(seat)

    def may_take(self, seat: Seat, job: Job) -> bool:
        """Whether a seat may try a member: what has failed goes to another seat, at another place if there is one."""
        if seat.failures >= FAILURES or len(seat.at_work) >= self._lanes or not job.may_join(seat.jobs):
            return False
        return seat.name not in job.avoid and self._another_may(seat.place, job)

    def needs_fresh(self, seat: Seat, jobs: Collection[Job]) -> bool:
        """Whether a seat has nothing left but what has failed on it, and a new process in its place could try that."""
        others = [other for other in self.seats if other.is_free and other is not seat]
        if self._opens_soon() or any(self.may_take(other, job) for other in others for job in jobs):
            return False
        return any(self._another_may(seat.place, job) for job in jobs)

    def _another_may(self, place: Place, job: Job) -> bool:
        """Whether another seat of a place may try a member: where it has failed, only if there is no other place, nor a
        seat about to open that may be at one."""
        failed_at = {self._places[name] for name in job.avoid if name in self._places}
        if place not in failed_at:
            return True
        return not self._opens_soon() and all(other.place in failed_at for other in self.seats if other.place)

    def _opens_soon(self) -> bool:
        """Whether a seat is about to open, and not waiting for room."""
        if self._held_back and self._stumbles < OPENINGS:
            return True
        soon = time.monotonic() - SLOW_SECONDS
        return any(seat.opening and seat.idle_since > soon for seat in self.seats)


def _pause(times: int) -> float:
    return min(PAUSE_SECONDS * 2.0 ** (times - 1), LONGEST_PAUSE)
