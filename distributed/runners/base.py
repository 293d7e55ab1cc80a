"""What a campaign needs of the place where its members run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gammasky.distributed.member import Resources, Row, Task
from gammasky.engine.errors import InputError
from gammasky.engine.interrupt import Interrupts

Ending = Literal["done", "failed", "late", "lost", "full", "apart"]


@dataclass(frozen=True)
class Job:
    """One attempt at a member.

    Attributes:
        key, name, spec: of the member.
        attempt: number of the attempt, from 1.
        limit: time [s] that it may take.
        failures: attempts that have failed, each on another seat.
        avoid: seats on which it was not done.
        structure: those of one may be at work side by side in one process; None: it is alone.
        resources: of the member, where they are not those of all.
    """

    key: str
    name: str
    spec: dict[str, Any]
    attempt: int = 1
    limit: float = math.inf
    failures: int = 0
    avoid: tuple[str, ...] = ()
    resources: Resources | None = None
    structure: str | None = None

    @property
    def was_lost(self) -> bool:
        """Whether an attempt went with its process."""
        return self.attempt - self.failures > 1

    def may_join(self, others: Collection[Job]) -> bool:
        """Whether it may be at work beside these; one that was lost is alone, for it may take its process along."""
        if not others:
            return True
        alike = self.structure is not None and all(other.structure == self.structure for other in others)
        return alike and not any(job.was_lost for job in (self, *others))


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        ending: "done": the result is stored. "failed": the task raised; "late": it took longer than it may, or made no
            progress: after two of these, on different seats, the member is given up. "lost": the worker, its node, its
            device or its memory went, or storage could not be read or written: worth another attempt. "full": the
            campaign's storage has no room. "apart": the worker does not see the campaign's folder.
        row, seconds: of the task, where it is done; attempts: how many it took.
        error: one line; trace: the traceback.
        seat: where it was; empty: in the driver's own process.
    """

    ending: Ending
    row: Row = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    trace: str = ""
    seat: str = ""


@dataclass(frozen=True)
class Work:
    """What is the same for all members.

    Attributes:
        task: what to do.
        folder: of the campaign, as every worker sees it.
        resources: of each member; others: of members that ask for others, as far as they are known.
        software: versions of the driver, which seats must have, too; but for the packages in `mixed`.
        lanes: members side by side in one process, which share its resources.
    """

    task: Task
    folder: Path
    resources: Resources
    software: Mapping[str, str] = field(default_factory=dict)
    mixed: tuple[str, ...] = ()
    lanes: int = 1
    others: tuple[Resources, ...] = ()


@dataclass(frozen=True)
class Running:
    """A member at work: how far it is (0 to 1), for how long [s], the numbers that it reports, and in which process."""

    key: str
    name: str
    fraction: float
    seconds: float
    attempt: int
    values: dict[str, float]
    host: str
    pid: int


class Session(Protocol):
    """Workers that are up."""

    def interrupts(self) -> Interrupts:
        """The context in which a driver works: what Ctrl-C and SIGTERM do there."""
        ...

    def slots(self) -> int:
        """How many members can run at once, now."""
        ...

    def room(self) -> int:
        """How many more jobs to submit: enough that workers never wait, and that a cluster sees what it could use."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """The jobs that have ended since the last call; waits for the first of them, but no longer than that.

        Raises:
            InputError: no worker can be used.
        """
        ...

    def running(self) -> list[Running] | None:
        """The members at work; None: they tell of themselves in the campaign's folder."""
        ...

    def tries_elsewhere(self) -> bool:
        """Whether a member that has failed can be tried again on another seat."""
        ...

    def leave_room(self) -> None:
        """End workers that have no work, for others that wait."""
        ...

    def stop(self) -> None:
        """Tell all running members to end, and end those that do not."""
        ...


class Runner(Protocol):
    """A place where members run.

    Attributes:
        lanes: members of one structure side by side in each process.
    """

    lanes: int

    def session(self, work: Work) -> AbstractContextManager[Session]:
        """Start or join the workers; on leaving, end those that were started.

        Raises:
            InputError: no workers there, or none that has the resources.
        """
        ...


def checked_lanes(lanes: int) -> int:
    """The number of members side by side in one process.

    Raises:
        InputError: not a positive whole number.
    """
    if isinstance(lanes, bool) or not isinstance(lanes, int) or lanes < 1:
        raise InputError(f"lanes: expected a whole number of at least 1, got {lanes!r}")
    return lanes
