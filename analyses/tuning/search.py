"""Searches whose fits may be ended early: for settings of a fit, and along the axes of an ensemble."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.cost import estimated_seconds
from gammasky.analyses.ensemble.datasets import counts_checksum, data_identity, place_of
from gammasky.analyses.ensemble.expansion import Expansion, has_points
from gammasky.analyses.ensemble.file import Sweep, beside
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.analyses.tuning.climb import N_DRAWS
from gammasky.analyses.tuning.objectives import (
    DIRECTIONS,
    MEMBER,
    OF_MODELS,
    OF_SETTINGS,
    FitObjective,
    MemberObjective,
)
from gammasky.analyses.tuning.settings import default_params, paper_params
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.tuning.search import Found, tune
from gammasky.distributed.tuning.space import Params, Space
from gammasky.distributed.tuning.sweep_driver import Sought
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.model.latent import Latent
from gammasky.engine.model.parameters import parameter_labels
from gammasky.engine.model.spec import ModelSpec, read_model
from gammasky.engine.sky.dataset import Dataset

#: In sixteenths of a fit. The flow begins again at 10, 20 and 40 % of its steps: two rungs look just before that.
RUNGS = (3, 6, 12, 16)
FORMAT = "gammasky tuning of fits 2"  # another number for what means another value


def tune_fit(
    folder: Path,
    model: str,
    data: str,
    data_dir: Path | None,
    space: Space,
    trials: int,
    runner: Runner,
    *,
    objective: str = "elbo",
    steps: int = 2000,
    seconds: float | None = None,
    seed: int = 0,
    **options: Any,
) -> Found:
    """Search for the settings of a variational fit of one model.

    Trial 0 are the settings of arXiv:2604.08648, with all steps, trial 1 those that a fit has by default, if they are
    searched. The time that the steps of trial 0 take is what every other trial has: all are compared at equal time.

    Args:
        folder: of the search.
        model: a preset or a model file; data, data_dir: the dataset.
        space: of `settings_space`.
        trials: in all.
        runner: where they run.
        objective: "elbo"; "elbo_per_second", the gain over the Laplace approximation per second; "k_hat".
        steps: of a fit, where its settings do not say.
        seconds: that the steps of a fit may take; None: as long as those of trial 0 took.
        seed: of the fits and of the sampler.
        options: of `tune`.

    Raises:
        InputError: anything that cannot be used; found before anything starts.
    """
    if objective not in OF_SETTINGS:
        raise unknown_name("objective", objective, OF_SETTINGS)
    spec = read_model(model)
    check_parameter_names(spec)
    place, dataset = place_of(data, None if data_dir is None else str(data_dir))
    fitted = {"model": spec.model_dump(mode="json"), "data": data_identity(dataset, spec)}
    opener = EnsembleTask(((counts_checksum(dataset), place),), beside(Path.cwd(), model))
    task = FitObjective(opener, json.dumps(fitted), objective, steps, seconds, seed)
    about = {
        "format": FORMAT,
        **fitted,
        "objective": objective,
        "steps": steps,
        "seconds": seconds,
        "seed": seed,
        "draws": N_DRAWS,
    }
    paper = paper_params(space, steps)
    task.settings(paper)
    usual = default_params(space, steps)
    shared: dict[str, Any] = {
        "about": about,
        "first": [paper] if usual is None else [paper, usual],
        "direction": DIRECTIONS[objective],
        "rungs": RUNGS,
        "seed": seed,
        "cost": _cost(task, spec, dataset),
    }
    resume = options.pop("resume", False)
    if seconds is None:
        first = tune(folder, task, space, 1, runner, resume=resume, **shared, **options)
        task, resume = replace(task, seconds=_seconds(first)), True
    return tune(folder, task, space, trials, runner, resume=resume, **shared, **options)


def _cost(task: FitObjective, spec: ModelSpec, dataset: Dataset) -> Callable[[Params], float]:
    """Settings -> the estimated time of their fit [s]; of those that no fit takes 0, their trial says why."""
    pixels = spec.region.flatten(dataset)
    n_parameters = Latent(spec.parameters, parameter_labels(spec, dataset.energy_edges_gev)).n_latent

    def cost(params: Params) -> float:
        try:
            return estimated_seconds(task.settings(params), pixels, n_parameters, points=has_points(spec))
        except InputError:
            return 0.0

    return cost


def _seconds(found: Found) -> float:
    """What the steps of trial 0 took, whichever number it has: one that was killed is begun again."""
    for trial in found.trials:
        if trial.state == "complete":
            return float(trial.row["seconds"])
    if not found.trials:
        raise InputError("the workers of the fit of the paper's settings were lost; go on with `resume=True`")
    why = found.trials[0].error
    raise InputError(f"the paper's settings cannot be fitted to this model ({why}); give `seconds`, the time of a fit")


def early_models(
    folder: Path, expansion: Expansion, asked: Sweep, sought: Sought, about: dict[str, Any], runner: Runner,
    **options: Any,
) -> Found:  # fmt: skip
    """Search along the axes of an ensemble for the highest evidence, by fits that a pruner may end early.

    Args:
        folder: of the search.
        expansion: of an ensemble whose fits are of a guide to the likelihood itself.
        asked, sought: what for; one objective, which these fits tell on their way, and no constraint.
        about: what the ensemble is.
        runner: where they run.
        options: of `tune`.

    Raises:
        InputError: fits that cannot be measured on their way, an objective that they do not tell, or overrides of
            resources, which they do not heed.
    """
    fit = expansion.ensemble.fit
    if fit.method != "svi" or fit.emulator:
        raise InputError(
            f"pruner '{asked.pruner}': ends fits of a guide to the likelihood itself early, got method '{fit.method}';"
            " set method = 'svi' and emulator = false under [fit], or take no pruner"
        )
    if expansion.ensemble.overrides:
        raise InputError(
            f"pruner '{asked.pruner}': all its fits have the same resources; remove [[resources.overrides]], or take no"
            " pruner"
        )
    columns = [(goal.column, goal.direction) for goal in sought.goals]
    if len(columns) > 1 or columns[0] not in [(name, "maximize") for name in OF_MODELS] or sought.constraints:
        raise InputError(
            f"pruner '{asked.pruner}': such fits tell one of {', '.join(OF_MODELS)} on their way; maximise that alone,"
            " without constraints, or take no pruner"
        )
    objective = columns[0][0]
    return tune(
        folder,
        MemberObjective(expansion.task, objective),
        sought.space,
        asked.trials,
        runner,
        about={**about, "objective": objective},
        given=lambda params: {MEMBER: sought.member_of(params).spec},
        cost=lambda params: sought.member_of(params).cost,
        direction=DIRECTIONS[objective],
        rungs=RUNGS,
        sampler=asked.sampler,
        pruner=asked.pruner,
        seed=sought.seed,
        **options,
    )
