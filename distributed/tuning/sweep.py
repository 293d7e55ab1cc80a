"""A sweep over model space: whole fits as trials of an Optuna study, judged by the columns of their rows."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammasky.distributed.member import Resources, Task
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.software import software_of
from gammasky.distributed.table import write_csv, written_at_the_end
from gammasky.distributed.tuning.goals import Goal, front, number_in, violations
from gammasky.distributed.tuning.sampling import check_sampler
from gammasky.distributed.tuning.search import MAX_SEED, SEARCH, begun, resumed
from gammasky.distributed.tuning.space import Params, space_as_json
from gammasky.distributed.tuning.sweep_driver import Entry, Sought, SweepDriver
from gammasky.distributed.tuning.trial_store import in_use, open_database, open_study, shown_url
from gammasky.distributed.undertaking import undertaken
from gammasky.engine.errors import InputError

TABLE = "trials.csv"
MOST_AHEAD = 1000


@dataclass(frozen=True)
class SweepTrial:
    """A trial that has ended.

    Attributes:
        number: of it in the study.
        name, key: of the member that it is a fit of; empty where its parameters make none.
        params: what was chosen; row: of the fit; error: why it has none, or no value.
        values: of the objectives; empty where it has none. errors: of these; NaN where they have none.
        violated: the constraints that it does not meet.
        best: no other trial that meets all constraints is better in every respect.
    """

    number: int
    name: str
    key: str
    params: Params
    row: dict[str, Any]
    error: str
    values: tuple[float, ...]
    errors: tuple[float, ...]
    violated: tuple[str, ...]
    best: bool

    @property
    def meets(self) -> bool:
        """Whether it has values and meets all constraints."""
        return bool(self.values) and not self.violated


@dataclass(frozen=True)
class Swept:
    """What a sweep has found.

    Attributes:
        trials: all that have ended, by number.
        goals: what was made small or large; constraints: what was asked of each.
        seconds: of this run.
    """

    trials: tuple[SweepTrial, ...]
    goals: tuple[Goal, ...]
    constraints: tuple[str, ...]
    seconds: float

    @property
    def ranked(self) -> tuple[SweepTrial, ...]:
        """The trials that meet all constraints, each fit once: those of the front first, by the first objective."""
        fits = {trial.key: trial for trial in reversed(self.trials) if trial.meets}
        return tuple(sorted(fits.values(), key=lambda trial: (not trial.best, self.goals[0].sign * trial.values[0])))

    @property
    def front(self) -> tuple[SweepTrial, ...]:
        """The best trials that meet all constraints, by the first objective: of one objective one, of several those
        that none is better than in every respect (Pareto)."""
        found = [trial for trial in self.trials if trial.best]
        return tuple(sorted(found, key=lambda trial: self.goals[0].sign * trial.values[0]))

    @property
    def best(self) -> SweepTrial | None:
        """The best trial by the first objective; None: none meets all constraints."""
        return next(iter(self.front), None)


def sweep(
    folder: Path | str,
    task: Task,
    sought: Sought,
    trials: int,
    runner: Runner,
    *,
    about: dict[str, Any],
    resources: Resources | None = None,
    others: Sequence[Resources] = (),
    storage: str | None = None,
    resume: bool = False,
    keep_going: bool = False,
    retry_failed: bool = False,
    allow_mixed: Sequence[str] = (),
    quiet: bool = False,
) -> Swept:
    """Fit the members that a sampler chooses, until so many trials have ended.

    Every trial is a whole fit, kept like a member of a campaign. Which it is depends on the seed and on the results of
    the trials before it, but for the last few (`ahead`): not on the number of workers, nor on whether the driver was
    killed in between. A trial that is the fit of an earlier one takes its result.

    Args:
        folder: of the sweep; every worker must see it under the same path.
        task: fits a member.
        sought: what for, and how.
        trials: how many are ended in all, those of earlier runs counted; where there is less to choose from, everything
            is fitted, once.
        runner: where they run.
        about: what else results depend on, as plain JSON; kept in the folder.
        resources: of a fit; others: of fits that ask for their own, as far as they are known.
        storage, resume, keep_going, retry_failed, allow_mixed, quiet: as of `tune`.

    Returns:
        the trials, and the best of them.

    Raises:
        InputError: anything that cannot be used as given; another driver.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    began, folder = time.monotonic(), Path(folder).resolve()
    _check(sought, trials)
    kept_at = shown_url(storage)
    database = None if storage is None else open_database(storage)  # before anything is written
    software, resources = software_of(task), resources or Resources()
    held = undertaken(folder, SEARCH, software, resume=resume, allow_mixed=allow_mixed)
    with in_use(database), held as undertaking:
        mine = {**_as_json(sought), "about": about, "storage": kept_at}
        name, began_with = resumed(folder, mine) if resume else begun(folder, mine, software)
        undertaking.go_on(began_with)
        study = open_study(folder, name, database, [goal.direction for goal in sought.goals], resume=resume)
        _prepare(study, sought)
        tell = (lambda _line: None) if quiet else (lambda line: print(f"gammasky: {line}", file=sys.stderr, flush=True))
        every = sought.space.everything(trials)
        driver = SweepDriver(
            undertaking.places, study, sought, every, trials, resources, task, runner.lanes, tell,
            keep_going=keep_going, retry_failed=retry_failed,
        )  # fmt: skip
        table = lambda: [_line(trial, sought) for trial in judged(driver.entries, sought)]  # noqa: E731
        with written_at_the_end(lambda: write_csv(folder / TABLE, table())):
            if driver.missing:
                undertaking.drive(driver, runner, task, resources, others)
        found = judged(driver.entries, sought)
    texts = tuple(constraint.text for constraint in sought.constraints)
    return Swept(tuple(found), tuple(sought.goals), texts, time.monotonic() - began)


def _check(sought: Sought, trials: int) -> None:
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials: expected a whole number of at least 1, got {trials!r}")
    if not sought.space.distributions:
        raise InputError("ensemble: no axis has more than one choice; there is nothing to search")
    if not sought.goals:
        raise InputError("sweep: no objective; say what to `minimise` or `maximise`")
    if not 1 <= sought.ahead <= MOST_AHEAD:
        raise InputError(f"at_once: expected a whole number from 1 to {MOST_AHEAD}, got {sought.ahead}")
    if not 0 <= sought.seed <= MAX_SEED:
        raise InputError(f"seed: expected a whole number from 0 to {MAX_SEED}, got {sought.seed}")
    check_sampler(sought.sampler, len(sought.goals))


def _as_json(sought: Sought) -> dict[str, Any]:
    """What must be the same where a sweep goes on."""
    return {
        "space": space_as_json(sought.space.distributions),
        "objectives": [[goal.column, goal.direction] for goal in sought.goals],
        "constraints": [constraint.text for constraint in sought.constraints],
        "sampler": sought.sampler,
        "seed": sought.seed,
        "at_once": sought.ahead,
    }


def _prepare(study: Any, sought: Sought) -> None:
    """The study asks for nothing itself, and its objectives have names."""
    from optuna.samplers import RandomSampler

    from gammasky.distributed.tuning.sampling import quiet_optuna

    with quiet_optuna():
        study.sampler = RandomSampler(seed=0)
        study.set_metric_names([goal.column for goal in sought.goals])


def judged(entries: Sequence[Entry], sought: Sought) -> list[SweepTrial]:
    """The trials that have ended, each judged by what is known of all of them."""
    ended = [entry for entry in entries if entry.ended]
    values = {entry.number: sought.values(entry.row) for entry in ended}
    valued = [entry for entry in ended if values[entry.number] is not None]
    amounts = violations([entry.row for entry in valued], sought.constraints)
    violated = {
        entry.number: tuple(c.text for c, amount in zip(sought.constraints, of, strict=True) if amount > 0)
        for entry, of in zip(valued, amounts, strict=True)
    }
    fitting = [entry for entry in valued if not violated[entry.number]]
    signed = [[g.sign * number_in(entry.row, g.column) for g in sought.goals] for entry in fitting]
    best = {fitting[place].number for place in _first_of_each(signed)}
    return [
        SweepTrial(
            number=entry.number,
            name=entry.member.name if entry.member else "",
            key=entry.key,
            params=entry.params,
            row=entry.row,
            error=entry.error,
            values=tuple(values[entry.number] or ()),
            errors=tuple(sought.error_of(entry.row, goal.column) for goal in sought.goals),
            violated=violated.get(entry.number, ()),
            best=entry.number in best,
        )
        for entry in ended
    ]


def _first_of_each(signed: Sequence[Sequence[float]]) -> list[int]:
    """The places of the front; of trials with the same values the first."""
    seen: list[Sequence[float]] = []
    places = []
    for place in front(signed):
        if signed[place] not in seen:
            seen.append(signed[place])
            places.append(place)
    return places


def _line(trial: SweepTrial, sought: Sought) -> dict[str, Any]:
    """A line of the table: the verdict of the sweep on a trial first, then its parameters, then its row."""
    state = "complete" if trial.values else "failed"
    about = {"number": trial.number, "state": state, "meets": int(trial.meets), "best": int(trial.best)}
    goals: dict[str, Any] = {}
    for goal, value, error in zip(sought.goals, trial.values, trial.errors, strict=False):
        goals |= {goal.column: value, f"{goal.column}_error": "" if math.isnan(error) else error}
    params = {f"axis.{name}": trial.params.get(name, "") for name in sought.space.distributions}
    told = {"member": trial.name, "violated": "; ".join(trial.violated), "error": trial.error}
    return {**about, **params, **goals, **told, **trial.row, **goals}
