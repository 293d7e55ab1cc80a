"""The words of a campaign: what a member is, what it may use, and what its task gives back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gammasky.engine.errors import InputError

Row = dict[str, float | str | int | bool]
_KIND = re.compile("[A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Resources:
    """What each member is given, or members side by side in one process together.

    Attributes:
        cpus: threads of a member.
        gpus: 1, or the part of one that several members share; 0: none.
        accelerator: kind of the GPU by Ray's name for it ("A100", "H100"); empty: any.
        memory_gb [GB]: memory that a scheduler reserves; 0: none is reserved.
        hours [h]: time limit of one attempt; 0: none; None: from the estimated time of the member.

    Raises:
        InputError: a number that cannot be meant.
    """

    cpus: int = 1
    gpus: float = 0.0
    accelerator: str = ""
    memory_gb: float = 0.0
    hours: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cpus, bool) or not isinstance(self.cpus, int) or self.cpus < 1:
            raise InputError(f"cpus: expected a whole number of at least 1, got {self.cpus!r}")
        for name in ("gpus", "memory_gb", "hours"):
            value = getattr(self, name)
            if name == "hours" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"{name}: expected a finite number of at least 0, got {value!r}")
        if not isinstance(self.accelerator, str) or not _KIND.fullmatch(self.accelerator):
            raise InputError(f"accelerator: expected a name such as 'A100' or 'H100', got {self.accelerator!r:.60}")
        if self.accelerator and not self.gpus:
            raise InputError(f"accelerator: '{self.accelerator}' is a kind of GPU; ask for `gpus` too, or leave it out")
        if self.gpus > 1:
            raise InputError(f"gpus: a fit runs on one GPU; expected a number from 0 to 1, got {self.gpus!r}")


@dataclass(frozen=True)
class Member:
    """One member of a campaign.

    Attributes:
        name: for people, and unique in its campaign.
        spec: all that its result depends on, as plain JSON; `Store.key(spec)` is the member's identity.
        labels: axis -> choice.
        cost: estimated time [s].
        resources: what it is given, where that is not what all are.
    """

    name: str
    spec: dict[str, Any]
    labels: dict[str, str]
    cost: float
    resources: Resources | None = None


class Desk(Protocol):
    """What a task may use while it works.

    Attributes:
        folder: the member's own scratch folder on the shared storage, for checkpoints: kept from one attempt to the
            next, and removed when the result is stored.
        lanes: members that may be at work side by side in this process.
    """

    folder: Path
    lanes: int

    def report(self, fraction: float, **values: float) -> None:
        """Tell how far the member is (0 to 1), with numbers to show: `report(0.4, elbo=-20080.1)`. Call it freely."""
        ...


@dataclass
class Result:
    """What a task returns: arrays for the member's file, and its row in the table of results."""

    arrays: dict[str, np.ndarray]
    row: Row


#: Picklable: a function at the top of a module, or a frozen dataclass with `__call__`. Each process keeps one copy for
#: all its members, so what the task caches on itself or in its module is used again. It may have a method
#: `about(resources)`, called once in each process: texts by name for every row (see `engine.machine`), or an error
#: where this machine lacks what members need. And a method `structure(spec)`: members of which it gives the same text
#: may be at work side by side in threads of one process, each at its own call of the task.
Task = Callable[[dict[str, Any], Desk], Result]
