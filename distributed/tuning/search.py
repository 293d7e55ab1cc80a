"""Search for the best settings: trials of Optuna's in rungs on any runner, resumed where a driver was killed."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammasky.distributed.hold import Kind, read_content, write_content
from gammasky.distributed.manifest import difference
from gammasky.distributed.member import Resources
from gammasky.distributed.members_driver import time_limit
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.software import software_of
from gammasky.distributed.table import written_at_the_end
from gammasky.distributed.tuning.rung import Objective, RungTask
from gammasky.distributed.tuning.sampling import check_sampler, make_pruner, make_sampler
from gammasky.distributed.tuning.space import Params, SearchSpace, Space, check_params, space_as_json, whole
from gammasky.distributed.tuning.trial_store import (
    begin_failed_again,
    begin_orphans_again,
    has_ended,
    in_use,
    open_database,
    open_study,
    shown_url,
)
from gammasky.distributed.tuning.trials import TrialRow, ranked, read_trials, write_trials
from gammasky.distributed.tuning.trials_driver import TrialsDriver
from gammasky.distributed.undertaking import undertaken
from gammasky.engine.errors import InputError, unknown_name

DIRECTIONS = ("maximize", "minimize")
RUNGS = (1, 2, 4, 8)
MAX_SEED = 2**32 - 1  # what the sampler takes
SEARCH = Kind("search", "gammasky tuning", 1, begin="start it without `resume=True`", go_on="go on with `resume=True`")


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        trials: all that have ended, by number.
        ranked: those that were not ended early, see `ranked`.
        rungs_done: whole efforts that the trials took; each would have taken one without ending early.
        seconds: of this run.
    """

    trials: tuple[TrialRow, ...]
    ranked: tuple[TrialRow, ...]
    rungs_done: float
    seconds: float

    @property
    def best(self) -> TrialRow | None:
        """The best of those that were not ended early; None: there is none."""
        return next(iter(self.ranked), None)


def tune(
    folder: Path | str,
    objective: Objective,
    space: Space | SearchSpace,
    trials: int,
    runner: Runner,
    *,
    about: dict[str, Any],
    given: Callable[[Params], dict[str, Any]] = dict,
    cost: Callable[[Params], float] = lambda _params: 0.0,
    first: Sequence[Params] = (),
    direction: str = "maximize",
    rungs: Sequence[int] = RUNGS,
    sampler: str = "tpe",
    pruner: str = "halving",
    resources: Resources | None = None,
    storage: str | None = None,
    seed: int = 0,
    at_once: int | None = None,
    resume: bool = False,
    keep_going: bool = False,
    retry_failed: bool = False,
    allow_mixed: Sequence[str] = (),
    quiet: bool = False,
) -> Found:
    """Search for the settings with the best value: a sampler chooses, and at each rung a pruner ends some trials.

    The journal or database has every trial that has ended, so the driver may be killed at any time: `resume` begins
    the trials that were under way again, from their checkpoints, and goes on until `trials` have ended.

    Args:
        folder: of the search; every worker must see it under the same path.
        objective: brings a trial to a share of its effort, see `Objective`.
        space: name -> distribution of Optuna's; or one some of which exists only beside some choices of the rest.
        trials: how many are ended in all, those of earlier runs counted; fewer where there is less to choose from: then
            everything is tried, once.
        runner: where they run.
        about: what the value depends on besides the settings, as plain JSON; kept in the folder.
        given: settings -> what the objective is given for them, as plain JSON.
        cost: settings -> estimated time of the whole effort [s], for the time limit of an attempt at a rung.
        first: settings to begin with; they are never ended early.
        direction: maximize or minimize.
        rungs: rising whole numbers, the last the whole effort: at each but the last, a trial may be ended.
        sampler: a name in `SAMPLERS`; pruner: one in `PRUNERS`: "halving" lets half of the trials go on at each rung.
        resources: of a trial; its `hours` are the limit of an attempt at one rung.
        storage: URL of a database (sqlite:///..., postgresql://...); None: a journal in the folder.
        seed: of the sampler.
        at_once: trials under way at once; None: as many as the runner has room for.
        resume: go on with the search of that folder.
        keep_going: also where most trials fail with the same error.
        retry_failed: the settings of trials that have failed are tried again, in new trials that come on top.
        allow_mixed: packages of which this run may have other versions than that folder's, or its workers.
        quiet: no line on stderr for each trial.

    Returns:
        the trials and the best of them.

    Raises:
        InputError: anything that cannot be used as given; another driver.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    from optuna.trial import TrialState

    began, folder = time.monotonic(), Path(folder).resolve()
    tree = space if isinstance(space, SearchSpace) else whole(space)
    _check(tree.distributions, trials, direction, rungs, seed, first)
    check_sampler(sampler)
    make_pruner(pruner, rungs)
    parts = {"about": about, "space": space_as_json(tree.distributions), "direction": direction, "rungs": list(rungs)}
    parts |= {"sampler": sampler, "pruner": pruner}
    kept_at = shown_url(storage)
    database = None if storage is None else open_database(storage)  # before anything is written
    mine = {**parts, "seed": seed, "storage": kept_at}
    software, resources = software_of(objective), resources or Resources()
    held = undertaken(folder, SEARCH, software, resume=resume, allow_mixed=allow_mixed)
    with in_use(database), held as undertaking:
        name, began_with = resumed(folder, mine) if resume else begun(folder, mine, software)
        undertaking.go_on(began_with)
        study = open_study(folder, name, database, [direction], resume=resume)
        # another seed for each run: else one that goes on would ask for the first settings again
        study.sampler = make_sampler(sampler, (seed + len(study.get_trials(deepcopy=False))) % MAX_SEED)
        study.pruner = make_pruner(pruner, rungs)
        if resume and (again := begin_orphans_again(study)) and not quiet:
            print(f"gammasky: trials that were under way and go on: {again}", file=sys.stderr)
        failed = begin_failed_again(study) if retry_failed else 0
        for params in first:
            study.enqueue_trial(params, skip_if_exists=True)
        if (every := tree.everything(trials)) is not None:  # nothing is left to chance, and nothing tried twice
            for params in every:
                study.enqueue_trial(params, skip_if_exists=True)
            known = study.get_trials(deepcopy=False)
            trials = sum(has_ended(trial) or trial.state == TrialState.WAITING for trial in known)
        else:
            trials += failed
        limit = lambda params: time_limit(resources, cost(params))  # noqa: E731
        tell = (lambda _line: None) if quiet else (lambda line: print(f"gammasky: {line}", file=sys.stderr, flush=True))
        with written_at_the_end(lambda: write_trials(folder / "trials.csv", read_trials(study))):
            driver = TrialsDriver(
                undertaking.places, study, tree, given, rungs, trials, limit, at_once, first, tell,
                keep_going=keep_going,
            )  # fmt: skip
            if driver.missing > 0:
                undertaking.drive(driver, runner, RungTask(objective), resources)
        ended = read_trials(study)
    done = sum(trial.rung for trial in ended) / rungs[-1]
    return Found(tuple(ended), ranked(ended, direction), done, time.monotonic() - began)


def begun(folder: Path, search: dict[str, Any], software: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Write down what is searched, and name its study: a database may have many of that folder's name."""
    study = f"{folder.name}-{uuid.uuid4().hex[:8]}"
    write_content(folder, SEARCH, {"study": study, "search": search, "software": software})
    return study, software


def resumed(folder: Path, search: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The name of the study of a search, and the versions with which it began.

    Raises:
        InputError: another search; names the first thing that differs.
    """
    content = read_content(folder, SEARCH)
    if missing := {"search", "study", "software"} - content.keys():
        raise InputError(f"{folder}: the manifest lacks '{min(missing)}'; start another search in another folder")
    if what := difference(content["search"], json.loads(json.dumps(search))):
        raise InputError(
            f"{folder}: holds another search: {what}; resume with the same, or start another search in another folder"
        )
    return str(content["study"]), content["software"]


def _check(space: Space, trials: int, direction: str, rungs: Sequence[int], seed: int, first: Sequence[Params]) -> None:
    if not space:
        raise InputError("space: expected at least one setting, got none")
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials: expected a whole number of at least 1, got {trials!r}")
    if direction not in DIRECTIONS:
        raise unknown_name("direction", direction, DIRECTIONS)
    if not rungs or any(not isinstance(rung, int) or rung < 1 for rung in rungs) or sorted(set(rungs)) != list(rungs):
        raise InputError(f"rungs: expected rising whole numbers of at least 1, got {list(rungs)}")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed: expected a whole number from 0 to {MAX_SEED}, got {seed}")
    for params in first:
        check_params(space, params)
