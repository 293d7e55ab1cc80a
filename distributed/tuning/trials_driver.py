"""The driver of a search: ask for trials, hand out their rungs, report, end early or go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gammasky.distributed.driver import CORRECT, Driver
from gammasky.distributed.folder import Places
from gammasky.distributed.runners.base import Job, Outcome, Session
from gammasky.distributed.store import Store
from gammasky.distributed.tuning.rung import ENDED, VALUE, WHY
from gammasky.distributed.tuning.space import Params, SearchSpace
from gammasky.distributed.tuning.trial_store import ERROR, has_ended

if TYPE_CHECKING:
    from optuna import Study, Trial

_OUTCOME = (VALUE, ENDED, WHY)
_ENDINGS = {"COMPLETE": "complete", "PRUNED": "ended early", "FAIL": "failed", "RUNNING": "lost, to be begun again"}


@dataclass
class Effort:
    """Settings under way, and the trials that asked for them: mostly one, the others wait for what it finds."""

    key: str
    params: Params
    trials: list[Trial]
    place: int = 0  # in the list of rungs
    reported: list[tuple[int, float]] = field(default_factory=list)


class TrialsDriver(Driver):
    """Brings so many trials of a study to their ends.

    Args:
        places: the search's folder, held.
        study: of Optuna.
        space: what trials choose from; given: settings -> what the objective is given for them.
        rungs: whole numbers, the last the whole effort.
        wanted: trials to be ended in all.
        limit: settings -> the time [s] that one attempt at a rung may take.
        at_once: trials under way at once; None: as many as there is room for.
        spared: settings that are never ended early.
        tell: takes a line for each trial that has ended.
        keep_going: go on also where most trials fail with one error.
    """

    def __init__(
        self,
        places: Places,
        study: Study,
        space: SearchSpace,
        given: Callable[[Params], dict[str, Any]],
        rungs: Sequence[int],
        wanted: int,
        limit: Callable[[Params], float],
        at_once: int | None,
        spared: Sequence[Params],
        tell: Callable[[str], None],
        *,
        keep_going: bool = False,
    ) -> None:
        super().__init__(places, keep_going=keep_going, remedy=CORRECT)
        self._study, self._rungs, self._at_once = study, list(rungs), at_once
        self._space, self._given, self._limit = space, given, limit
        self._tell, self._wanted = tell, wanted
        self._spared = {Store.key(params) for params in spared}
        self._efforts: dict[str, Effort] = {}  # by key
        self._rung_of: dict[str, Effort] = {}  # by the key of the rung's job
        self._ended = sum(map(has_ended, study.get_trials(deepcopy=False)))
        self._lost = 0  # trials that a later run begins again

    @property
    def missing(self) -> int:
        """Trials that are neither ended nor lost nor under way."""
        return self._wanted - self._ended - self._lost - sum(len(effort.trials) for effort in self._efforts.values())

    def turn(self, session: Session) -> None:
        """Ask for trials, no more than are worked on at once: each is chosen from what is known by then."""
        while self.missing > 0 and len(self._efforts) < (self._at_once or max(session.slots(), 1)):
            trial = self._study.ask()
            self._space.suggested(trial)
            key = Store.key(trial.params)
            if key in self._efforts:
                self._efforts[key].trials.append(trial)
                continue
            self._efforts[key] = Effort(key, dict(trial.params), [trial])
            self._next_rung(self._efforts[key])

    def _next_rung(self, effort: Effort) -> None:
        rung = self._rungs[effort.place]
        spec = {"params": self._given(effort.params), "share": rung / self._rungs[-1], "trial": effort.key}
        name = f"trial {effort.trials[0].number}, rung {rung}"
        job = Job(Store.key(spec), name, spec, limit=self._limit(effort.params))
        self._rung_of[job.key] = effort
        self.waiting.append(job)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """See `Driver.ended`."""
        effort = self._rung_of.pop(job.key)
        self.remove_scratch(job.key)
        if outcome.ending == "lost":
            self._lose(effort, outcome.error)
        elif outcome.ending != "done":
            self._end(effort, "FAIL", {ERROR: outcome.error})
        else:
            self._judge(effort, outcome)

    def _judge(self, effort: Effort, outcome: Outcome) -> None:
        """End a trial that has no value, is done or falls behind; else send it to its next rung."""
        rung, row = self._rungs[effort.place], outcome.row
        kept = {name: value for name, value in row.items() if name not in _OUTCOME}
        if VALUE not in row:  # the sampler learns from a pruned trial to stay away, not from a failed one
            self._end(effort, "PRUNED", {**kept, ERROR: row[WHY]})
            return
        trial, value = effort.trials[0], float(row[VALUE])
        trial.report(value, rung)
        effort.reported.append((rung, value))
        behind = trial.should_prune() and effort.key not in self._spared  # always asked: the pruner keeps the score
        effort.place += 1
        if row[ENDED] or effort.place == len(self._rungs):
            self._end(effort, "COMPLETE", kept, value)
        elif behind:
            self._end(effort, "PRUNED", kept)
        else:
            self._next_rung(effort)

    def _end(self, effort: Effort, state: str, kept: dict[str, Any], value: float | None = None) -> None:
        from optuna.trial import TrialState

        del self._efforts[effort.key]
        for position, trial in enumerate(effort.trials):
            for rung, reached in effort.reported if position else ():
                trial.report(reached, rung)
            for name, number in kept.items():
                trial.set_user_attr(name, number)
            self._study.tell(trial, value, TrialState[state])
            self._ended += 1
        self.remove_scratch(effort.key)
        self._tell(self._line(effort, state, kept))

    def _lose(self, effort: Effort, error: str) -> None:
        """Leave a trial as it is: its settings are not to blame, and a later run goes on from its checkpoints."""
        del self._efforts[effort.key]
        self._lost += len(effort.trials)
        self._tell(self._line(effort, "RUNNING", {ERROR: error}))

    def _line(self, effort: Effort, state: str, kept: dict[str, Any]) -> str:
        numbers = ", ".join(str(trial.number) for trial in effort.trials)
        settings = ", ".join(f"{name} {_short(value)}" for name, value in effort.params.items())
        reached = f"{effort.reported[-1][1]:.6g} at rung {effort.reported[-1][0]}" if effort.reported else "no value"
        ending = _ENDINGS[state]
        error = f" ({kept[ERROR]})" if ERROR in kept else ""
        return f"{self._ended}/{self._wanted}: trial {numbers} {ending}: {reached}; {settings}{error}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
