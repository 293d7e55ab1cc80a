"""What a campaign needs of the place where its members run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gammasky.distributed.member import Resources, Row, Task
from gammasky.engine.interrupt import Interrupts

Ending = Literal["done", "failed", "late", "lost", "apart"]


@dataclass(frozen=True)
class Job:
    """One attempt at a member: number `attempt` from 1."""

    key: str
    name: str
    spec: dict[str, Any]
    attempt: int = 1


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        ending: "done": the result is stored. "failed": the task raised; "late": it took longer than it may; these two
            are final. "lost": the worker, its node or its memory went, or storage could not be read or written: worth
            another attempt. "apart": the worker does not see the campaign's folder, or cannot load the task.
        row, seconds: of the task, where it is done; attempts: how many it took.
        error: one line; trace: the traceback.
    """

    ending: Ending
    row: Row = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Work:
    """What is the same for all members: the task, the campaign's folder as every worker sees it, and the resources."""

    task: Task
    folder: Path
    resources: Resources


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
        """The jobs that have ended since the last call; waits for the first of them, but no longer than that."""
        ...

    def stop(self) -> None:
        """Tell all running members to end, and end those that do not."""
        ...


class Runner(Protocol):
    """A place where members run."""

    def session(self, work: Work) -> AbstractContextManager[Session]:
        """Start or join the workers; on leaving, end those that were started.

        Raises:
            InputError: no workers there, or none that has the resources.
        """
        ...
