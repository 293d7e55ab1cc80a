"""The driver's loop of a search: ask for trials, hand out their rungs, report, end early or go on."""

from __future__ import annotations

import heapq
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gammasky.distributed.drive import ATTEMPTS, BACKOFF_SECONDS
from gammasky.distributed.folder import Places
from gammasky.distributed.runners.base import Job, Outcome, Session
from gammasky.distributed.store import Store
from gammasky.distributed.table import read_failure
from gammasky.distributed.tuning.rung import ENDED, VALUE, WHY
from gammasky.distributed.tuning.space import Params, Space
from gammasky.distributed.tuning.trial_store import ERROR, has_ended
from gammasky.engine.errors import InputError

if TYPE_CHECKING:
    from optuna import Study, Trial

POLL_SECONDS = 0.25
_OUTCOME = (VALUE, ENDED, WHY)


@dataclass
class Effort:
    """Settings under way, and the trials that asked for them: mostly one, the others wait for what it finds."""

    key: str
    params: Params
    trials: list[Trial]
    place: int = 0  # in the list of rungs
    reported: list[tuple[int, float]] = field(default_factory=list)


class Search:
    """Brings so many trials of a study to their ends.

    Args:
        study: of Optuna.
        space: what trials choose from.
        rungs: whole numbers, the last the whole effort.
        wanted: trials to be ended in all.
        at_once: trials under way at once; None: as many as there is room for.
        spared: settings that are never ended early.
        tell: takes a line for each trial that has ended.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        places: Places,
        rungs: Sequence[int],
        wanted: int,
        at_once: int | None,
        spared: Sequence[Params],
        tell: Callable[[str], None],
    ) -> None:
        self._study, self._places, self._rungs, self._at_once = study, places, list(rungs), at_once
        self._distributions = {name: choice.distribution() for name, choice in space.items()}
        self._tell, self._wanted = tell, wanted
        self._spared = {Store.key(params) for params in spared}
        self._efforts: dict[str, Effort] = {}  # by key
        self._rung_of: dict[str, Effort] = {}  # by the key of the rung's job
        self._later: list[tuple[float, str, Job]] = []  # a heap of attempts, by the time of their turn
        self._ended = sum(map(has_ended, study.get_trials(deepcopy=False)))

    @property
    def missing(self) -> int:
        """Trials that are neither ended nor under way."""
        return self._wanted - self._ended - sum(len(effort.trials) for effort in self._efforts.values())

    def run(self, session: Session) -> None:
        """End all trials that are wanted.

        Raises:
            InputError: workers that do not see the folder or cannot load the objective.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what ran has ended, and resumes from its checkpoints.
        """
        with session.interrupts() as interrupts:
            try:
                while self._efforts or self.missing > 0:
                    self._hand_out(session)
                    for job, outcome in session.poll(POLL_SECONDS):
                        self._take(session, job, outcome)
                    interrupts.raise_if_pending()
            except BaseException:
                session.stop()
                raise

    def _hand_out(self, session: Session) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            session.submit(heapq.heappop(self._later)[2])
        # no more than are worked on at once: each trial is chosen from what is known by then
        while self.missing > 0 and len(self._efforts) < (self._at_once or max(session.slots(), 1)):
            trial = self._study.ask(fixed_distributions=self._distributions)
            key = Store.key(trial.params)
            if key in self._efforts:
                self._efforts[key].trials.append(trial)
                continue
            self._efforts[key] = Effort(key, dict(trial.params), [trial])
            self._submit(session, self._efforts[key])

    def _submit(self, session: Session, effort: Effort) -> None:
        rung = self._rungs[effort.place]
        spec = {"params": effort.params, "share": rung / self._rungs[-1], "trial": effort.key}
        name = f"trial {effort.trials[0].number}, rung {rung}"
        job = Job(Store.key(spec), name, spec)
        self._rung_of[job.key] = effort
        session.submit(job)

    def _take(self, session: Session, job: Job, outcome: Outcome) -> None:
        """Note how an attempt at a rung ended; one that was lost is put back."""
        if outcome.ending == "apart":
            raise InputError(f"a worker cannot work there: {outcome.error}; every worker must see the folder and code")
        if outcome.ending == "lost":
            said = read_failure(self._places, job.key)  # a worker that ended itself for the time limit
            if said is None and job.attempt < ATTEMPTS:
                turn = time.monotonic() + BACKOFF_SECONDS * 2 ** (job.attempt - 1)
                heapq.heappush(self._later, (turn, job.key, replace(job, attempt=job.attempt + 1)))
                return
            outcome = said or replace(outcome, error=f"lost {ATTEMPTS} times, last: {outcome.error}")
        effort = self._rung_of.pop(job.key)
        _remove(self._places, job.key)
        if outcome.ending != "done":
            self._end(effort, "FAIL", {ERROR: outcome.error})
        else:
            self._judge(session, effort, outcome)

    def _judge(self, session: Session, effort: Effort, outcome: Outcome) -> None:
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
            self._submit(session, effort)

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
        _remove(self._places, effort.key)
        self._tell(self._line(effort, state, kept))

    def _line(self, effort: Effort, state: str, kept: dict[str, Any]) -> str:
        numbers = ", ".join(str(trial.number) for trial in effort.trials)
        settings = ", ".join(f"{name} {_short(value)}" for name, value in effort.params.items())
        reached = f"{effort.reported[-1][1]:.6g} at rung {effort.reported[-1][0]}" if effort.reported else "no value"
        ending = {"COMPLETE": "complete", "PRUNED": "ended early", "FAIL": "failed"}[state]
        error = f" ({kept[ERROR]})" if ERROR in kept else ""
        return f"{self._ended}/{self._wanted}: trial {numbers} {ending}: {reached}; {settings}{error}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _remove(places: Places, key: str) -> None:
    """Remove a scratch folder; what is left of it costs disk only."""
    shutil.rmtree(places.scratch / key, ignore_errors=True)
