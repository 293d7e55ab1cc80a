"""Which parameters a trial has: samplers of Optuna's by name, asked in such a way that the answer can be had again."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gammasky.distributed.tuning.space import Params, SearchSpace
from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

CONSTRAINTS = "constraints"  # Optuna's name of them in the attributes of a trial
MEMORY = "gammasky:memory"  # what a sampler has kept in the study, in the attributes of the trial that it chose
POPULATION = 20  # of a generation
#: Name -> the package that it needs besides Optuna; whether it takes several objectives.
SAMPLERS: dict[str, tuple[str, bool]] = {
    "tpe": ("", True),
    "random": ("", True),
    "qmc": ("", True),
    "nsga2": ("", True),
    "cmaes": ("cmaes", False),
}
NO_PRUNER = "none"
PRUNERS = (NO_PRUNER, "halving", "hyperband", "median")


def check_sampler(name: str, n_goals: int = 1) -> None:
    """Refuse a sampler that is not there.

    Raises:
        InputError: an unknown name, a package that is not installed, or several objectives where it takes one.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    package, several = SAMPLERS[name]
    if package and importlib.util.find_spec(package) is None:
        raise InputError(f"sampler '{name}': needs the package {package}; pip install {package}, or take another")
    if n_goals > 1 and not several:
        others = ", ".join(other for other, (_, many) in SAMPLERS.items() if many)
        raise InputError(f"sampler '{name}': takes one objective, got {n_goals}; take one of {others}")


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A sampler, new each time: what it learns from is in the study."""
    from optuna import samplers

    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "qmc": lambda: samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False),
        "nsga2": lambda: samplers.NSGAIISampler(population_size=POPULATION, seed=seed),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    }
    with quiet_optuna():
        return makers[name]()


def make_pruner(name: str, rungs: Sequence[int]) -> BasePruner:
    """A pruner that looks at these rungs.

    Raises:
        InputError: an unknown name.
    """
    from optuna import pruners

    if name not in PRUNERS:
        raise unknown_name("pruner", name, PRUNERS)
    makers: dict[str, Callable[[], BasePruner]] = {
        NO_PRUNER: pruners.NopPruner,
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=2),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=rungs[0], max_resource=rungs[-1], reduction_factor=2),
        "median": lambda: pruners.MedianPruner(n_startup_trials=4),
    }
    with quiet_optuna():
        return makers[name]()


def quiet_optuna() -> warnings.catch_warnings:
    """Without what Optuna says of its own newer parts."""
    from optuna.exceptions import ExperimentalWarning

    return warnings.catch_warnings(action="ignore", category=ExperimentalWarning)


@dataclass(frozen=True)
class Known:
    """An earlier trial, as a sampler is to see it.

    Attributes:
        trial: of the study.
        values: of the objectives; None: it is under way. Those that have failed are not shown to samplers at all.
        violations: of the constraints, as they are judged now: a best value that has risen since counts.
    """

    trial: FrozenTrial
    values: Sequence[float] | None
    violations: Sequence[float]


@dataclass(frozen=True)
class Asked:
    """A choice of a sampler: parameters, and what it wants to find again with the trial."""

    params: Params
    attributes: dict[str, Any]


def ask(
    space: SearchSpace, directions: Sequence[str], sampler: str, seed: int, known: Sequence[Known], number: int
) -> Asked:
    """The parameters of trial `number`: a function of the seed and of the earlier trials that are known, and no more.

    So they are the same for any number of workers, and after a driver was killed. A study in memory, made for the
    question, holds the earlier trials: in the study that is kept, what was once said of a constraint stays.
    """
    import optuna
    from optuna.storages import InMemoryStorage
    from optuna.trial import TrialState, create_trial

    storage = InMemoryStorage()
    with quiet_optuna():
        goals = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
        study = optuna.create_study(storage=storage, directions=goals, study_name="question")
        place = storage.get_study_id_from_name("question")
        for name, value in _memory(known).items():
            storage.set_study_system_attr(place, name, value)
        for entry in known:
            kept = {key: value for key, value in entry.trial.system_attrs.items() if not key.startswith(CONSTRAINTS)}
            if entry.violations and entry.values is not None:
                kept[CONSTRAINTS] = list(entry.violations)
            state = TrialState.RUNNING if entry.values is None else TrialState.COMPLETE
            study.add_trial(
                create_trial(
                    state=state,
                    values=entry.values,
                    params=entry.trial.params,
                    distributions=entry.trial.distributions,
                    system_attrs=kept,
                )
            )
        # a sequence of points that fill the space is one sequence; the others draw anew for each trial
        own = seed if sampler == "qmc" else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = make_sampler(sampler, own)
        params = space.suggested(study.ask())
        attributes = dict(storage.get_all_trials(place)[-1].system_attrs)
        attributes[MEMORY] = dict(storage.get_study_system_attrs(place))
    return Asked(params, attributes)


def _memory(known: Sequence[Known]) -> dict[str, Any]:
    """What the sampler had in the study when it chose the last trial."""
    return dict(known[-1].trial.system_attrs.get(MEMORY, {})) if known else {}
