"""The driver of a sweep: whole fits as trials, each chosen from what is known of all but the last few before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gammasky.distributed.driver import CORRECT, Driver
from gammasky.distributed.folder import Places
from gammasky.distributed.member import Member, Resources, Task
from gammasky.distributed.members_driver import time_limit
from gammasky.distributed.record import load_record
from gammasky.distributed.runners.base import Job, Outcome, Session
from gammasky.distributed.store import Store
from gammasky.distributed.tuning.goals import Constraint, Goal, number_in, violations
from gammasky.distributed.tuning.sampling import Asked, Known, ask
from gammasky.distributed.tuning.space import Params, SearchSpace
from gammasky.distributed.tuning.trial_store import ERROR
from gammasky.engine.errors import InputError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

MEMBER, KEY = "member", "key"  # attributes of a trial: what it is a fit of
WALL_SECONDS = "wall_seconds"


@dataclass(frozen=True)
class Sought:
    """What a sweep looks for, and how.

    Attributes:
        space: what it chooses from.
        member_of: parameters -> the member that has them; raises InputError where there is none.
        goals: columns to be made small or large.
        constraints: on columns.
        sampler: by name; seed: of it.
        ahead: how many trials are chosen before the results of each other are known.
        error_of: a row and a column -> the numerical error of that number; NaN where it has none.
        noted: columns that the study keeps beside the objectives and what constraints are about.
    """

    space: SearchSpace
    member_of: Callable[[Params], Member]
    goals: Sequence[Goal]
    constraints: Sequence[Constraint]
    sampler: str
    seed: int
    ahead: int
    error_of: Callable[[Mapping[str, Any], str], float] = lambda _row, _column: math.nan
    noted: Sequence[str] = ()

    def values(self, row: Mapping[str, Any]) -> list[float] | None:
        """The values of the objectives in a row; None where one is not a finite number."""
        values = [number_in(row, goal.column) for goal in self.goals]
        return values if all(map(math.isfinite, values)) else None


@dataclass
class Entry:
    """A trial.

    Attributes:
        number: of it in the study.
        params: what was chosen; member, key: the fit, and its identity; None where there is none.
        row: of the fit; empty until it is done. error: why it has none.
        ended: it has one, or never will.
    """

    number: int
    params: Params
    member: Member | None = None
    key: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    ended: bool = False


class SweepDriver(Driver):
    """Brings so many trials of a study to their ends.

    Args:
        places: the sweep's folder, held.
        study: of Optuna, which keeps every trial.
        sought: what for.
        every: all parameters there are, where they are no more than trials; None: the sampler chooses.
        wanted: trials in all.
        resources: of a fit; task: which makes it; lanes: fits side by side in a process.
        tell: takes a line for each trial that has ended.
        keep_going: go on also where most trials fail with one error.
        retry_failed: those whose fits have failed are tried once more, as new trials: a study keeps what it was told.
    """

    def __init__(
        self,
        places: Places,
        study: Study,
        sought: Sought,
        every: Sequence[Params] | None,
        wanted: int,
        resources: Resources,
        task: Task,
        lanes: int,
        tell: Callable[[str], None],
        *,
        keep_going: bool = False,
        retry_failed: bool = False,
    ) -> None:
        super().__init__(places, keep_going=keep_going, remedy=CORRECT)
        self._study, self._sought, self._wanted = study, sought, wanted
        self._resources, self._tell, self._lanes = resources, tell, lanes
        self._structure = getattr(task, "structure", None) if lanes > 1 else None
        self.entries = [self._known(trial) for trial in study.get_trials(deepcopy=False)]
        self._untried: list[Params] | None = None
        if every is not None:
            tried = [entry.params for entry in self.entries]
            self._untried = [params for params in every if params not in tried]
            self._wanted = len(self.entries) + len(self._untried)
        failed = [entry for entry in self.entries if self._has_failed(entry)] if retry_failed else []
        others = {entry.key for entry in self.entries if not self._has_failed(entry)}
        again = {entry.key: entry for entry in failed if entry.key not in others}  # each once, unless it was since
        self._wanted += len(failed) if every is None else len(again)
        for entry in self.entries:
            self._begin(entry)
        for entry in again.values():
            attributes = dict(study.get_trials(deepcopy=False)[entry.number].system_attrs)
            self._add(len(self.entries), Asked(entry.params, attributes))

    @property
    def missing(self) -> bool:
        """Whether trials have not ended, or not begun."""
        return len(self.entries) < self._wanted or not all(entry.ended for entry in self.entries)

    def _known(self, trial: FrozenTrial) -> Entry:
        """A trial of an earlier run; one that was under way goes on."""
        entry = Entry(trial.number, dict(trial.params))
        self._find_member(entry)
        if trial.state.name == "FAIL":
            entry.error, entry.ended = str(trial.user_attrs.get(ERROR, "")), True
        elif trial.state.name == "COMPLETE" and entry.key and (stored := load_record(self.places, entry.key)):
            entry.row, entry.ended = {**stored.row, WALL_SECONDS: stored.seconds}, True
        return entry

    def _has_failed(self, entry: Entry) -> bool:
        """Whether the fit of a trial of an earlier run raised an error; one that lacks a number would lack it again."""
        return entry.ended and not entry.row and bool(entry.key) and load_record(self.places, entry.key) is None

    def _find_member(self, entry: Entry) -> None:
        try:
            entry.member = self._sought.member_of(entry.params)
            entry.key = Store.key(entry.member.spec)
        except InputError as error:
            entry.error = str(error)

    def turn(self, session: Session) -> None:
        """Choose trials, as far ahead as is allowed."""
        del session
        while len(self.entries) < self._wanted:
            number = len(self.entries)
            if self._untried is not None:
                self._add(number, Asked(self._untried.pop(0), {}))
                continue
            seen = max(number - self._sought.ahead + 1, 0)
            if not all(entry.ended for entry in self.entries[:seen]):
                return
            self._add(number, self._asked(number, seen))

    def _asked(self, number: int, seen: int) -> Asked:
        """The parameters of a trial that may know of the results of the first `seen`, and that there are others."""
        sought = self._sought
        trials = self._study.get_trials(deepcopy=False)
        rows = [entry.row for entry in self.entries[:seen] if sought.values(entry.row) is not None]
        violated = iter(violations(rows, sought.constraints))
        known = []
        for entry in self.entries:
            if entry.number >= seen and entry.key:
                known.append(Known(trials[entry.number], None, ()))
            elif entry.number < seen and (values := sought.values(entry.row)) is not None:
                known.append(Known(trials[entry.number], values, next(violated)))
        directions = [goal.direction for goal in sought.goals]
        return ask(sought.space, directions, sought.sampler, sought.seed, known, number)

    def _add(self, number: int, asked: Asked) -> None:
        """A new trial: in the study at once, whole, so that a driver that is killed finds it."""
        from optuna.trial import TrialState, create_trial

        distributions: Any = {name: self._sought.space.distributions[name] for name in asked.params}
        entry = Entry(number, asked.params)
        self._find_member(entry)
        named = {MEMBER: entry.member.name, KEY: entry.key} if entry.member else {}
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=asked.params,
                distributions=distributions,
                system_attrs=asked.attributes,
                user_attrs=named,
            )
        )
        self.entries.append(entry)
        self._begin(entry)

    def _begin(self, entry: Entry) -> None:
        """Have a trial fitted, unless it has ended, cannot be, or its fit is another's too."""
        if entry.ended:
            return
        if entry.member is None:
            self._end(entry, {}, entry.error)
            return
        others = [other for other in self.entries[: entry.number] if other.key == entry.key]
        if done := next((other for other in others if other.ended and other.row), None):
            self._end(entry, done.row, "")
        elif not any(not other.ended for other in others):
            spec, own = entry.member.spec, entry.member.resources
            limit = time_limit(own or self._resources, entry.member.cost * self._lanes)
            alike = self._structure(spec) if self._structure else None
            name = f"trial {entry.number}, {entry.member.name}"
            self.waiting.append(Job(entry.key, name, spec, limit=limit, resources=own, structure=alike))

    def ended(self, job: Job, outcome: Outcome) -> None:
        """See `Driver.ended`."""
        lost = outcome.ending == "lost"
        if not lost:
            self.remove_scratch(job.key)
        row = {**outcome.row, WALL_SECONDS: outcome.seconds} if outcome.ending == "done" else {}
        for entry in [entry for entry in self.entries if entry.key == job.key and not entry.ended]:
            self._end(entry, row, "" if row else outcome.error, lost=lost)

    def _end(self, entry: Entry, row: dict[str, Any], error: str, *, lost: bool = False) -> None:
        """Note how a trial has ended; one that was lost is not to blame, and a later run begins it again."""
        entry.row, entry.error, entry.ended = row, error, True
        values = self._sought.values(row) if row else None
        if row and values is None:
            lacking = next(g.column for g in self._sought.goals if not math.isfinite(number_in(row, g.column)))
            entry.error = f"the fit has no number '{lacking}'"
        if not lost:
            self._record(entry, values)
        self._tell(self._line(entry))

    def _record(self, entry: Entry, values: list[float] | None) -> None:
        """Write down in the study how a trial has ended, unless that stands there."""
        from optuna.trial import Trial, TrialState

        stored = self._study.get_trials(deepcopy=False)[entry.number]
        if stored.state.is_finished():
            return
        trial = Trial(self._study, stored._trial_id)
        for name, value in self._told(entry).items():
            trial.set_user_attr(name, value)
        if values is None:
            self._study.tell(entry.number, state=TrialState.FAIL)
            return
        rows = [other.row for other in self.entries if other.ended and self._sought.values(other.row) is not None]
        now = violations(rows, self._sought.constraints)[next(n for n, row in enumerate(rows) if row is entry.row)]
        for constraint, amount in zip(self._sought.constraints, now, strict=True):
            if constraint.text not in trial.constraints:
                trial.set_constraint(constraint.text, amount)
        self._study.tell(entry.number, values)

    def _told(self, entry: Entry) -> dict[str, Any]:
        """What the study keeps of a trial beside its objectives: the whole row is with its fit, and in the table."""
        error = {ERROR: entry.error} if entry.error else {}
        columns = dict.fromkeys(column for of in self._sought.constraints for column in of.columns)
        noted = {name: entry.row[name] for name in (*columns, *self._sought.noted) if name in entry.row}
        return {**{name: value for name, value in noted.items() if _is_plain(value)}, **error}

    def _line(self, entry: Entry) -> str:
        ended = sum(other.ended for other in self.entries)
        name = entry.member.name if entry.member else ", ".join(f"{k}={v}" for k, v in entry.params.items())
        if entry.error:
            return f"{ended}/{self._wanted}: trial {entry.number} has no value: {entry.error}; {name}"
        values = ", ".join(f"{goal.column} {number_in(entry.row, goal.column):.6g}" for goal in self._sought.goals)
        return f"{ended}/{self._wanted}: trial {entry.number}: {values}; {name}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))
