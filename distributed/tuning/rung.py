"""One rung of a trial, as the task of a worker: go on from the trial's checkpoint to a share of its whole effort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gammasky.distributed.member import Desk, Resources, Result, Row
from gammasky.distributed.tuning.space import Params

VALUE, ENDED, WHY = "value", "ended", "why"  # names that no objective's row may use


@dataclass(frozen=True)
class Reached:
    """How far an objective has brought a trial.

    Attributes:
        value: of what is to be made best; None: the trial cannot go on, for the reason `why`.
        ended: nothing is left to do, whatever the share.
        row: numbers to keep with the trial.
    """

    value: float | None
    ended: bool = False
    row: Row = field(default_factory=dict)
    why: str = ""


@dataclass
class TrialDesk:
    """A `Desk` whose folder is the trial's: kept from rung to rung, removed when the trial has ended."""

    folder: Path
    report: Callable[..., None]


#: `objective(params, share, desk)` brings a trial to that share (above 0, at most 1) of its whole effort, from the
#: checkpoint that the rung before has left in `desk.folder`, if it is there, else from the beginning. Picklable, as a
#: `Task` is.
Objective = Callable[[Params, float, TrialDesk], Reached]


@dataclass(frozen=True)
class RungTask:
    """The task of a runner: one rung."""

    objective: Objective

    def about(self, resources: Resources) -> dict[str, str]:
        """What the objective says of this process, see `Task`."""
        tell = getattr(self.objective, "about", None)
        return dict(tell(resources)) if tell else {}

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """Do a rung.

        Raises:
            TypeError: the objective returned something else than `Reached`, or a row with a name that is taken.
        """
        folder = desk.folder.parent / spec["trial"]
        folder.mkdir(exist_ok=True)
        reached = self.objective(spec["params"], spec["share"], TrialDesk(folder, desk.report))
        if not isinstance(reached, Reached):
            raise TypeError(f"an objective must return Reached, got {type(reached).__name__}")
        if taken := {VALUE, ENDED, WHY} & set(reached.row):
            raise TypeError(f"row '{min(taken)}': a rung has a number of that name; choose another")
        value = {} if reached.value is None else {VALUE: float(reached.value)}
        return Result({}, {**reached.row, **value, ENDED: reached.ended, WHY: reached.why})
