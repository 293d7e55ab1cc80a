"""The two searches: settings of a fit, and members of an ensemble."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution

from gammasky.analyses.ensemble.datasets import counts_checksum, data_identity, place_of
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.analyses.tuning.climb import N_DRAWS
from gammasky.analyses.tuning.objectives import DIRECTIONS, OF_MODELS, OF_SETTINGS, FitObjective, MemberObjective
from gammasky.analyses.tuning.settings import default_params, paper_params
from gammasky.distributed.member import Member
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.store import Store
from gammasky.distributed.tuning.search import Found, tune
from gammasky.distributed.tuning.space import Space
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.model.spec import read_model

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
    opener = EnsembleTask(((counts_checksum(dataset), place),))
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
    }
    resume = options.pop("resume", False)
    if seconds is None:
        first = tune(folder, task, space, 1, runner, resume=resume, **shared, **options)
        task, resume = replace(task, seconds=_seconds(first)), True
    return tune(folder, task, space, trials, runner, resume=resume, **shared, **options)


def _seconds(found: Found) -> float:
    """What the steps of trial 0 took, whichever number it has: one that was killed is begun again."""
    for trial in found.trials:
        if trial.state == "complete":
            return float(trial.row["seconds"])
    why = found.trials[0].error if found.trials else "no trial has ended"
    raise InputError(f"the paper's settings cannot be fitted to this model ({why}); give `seconds`, the time of a fit")


def tune_models(
    folder: Path, expansion: Expansion, trials: int, runner: Runner, *, objective: str = "log_z", **options: Any
) -> Found:
    """Search for the choices of an ensemble that raise the evidence, instead of fitting every member.

    Args:
        folder: of the search.
        expansion: of an ensemble with axes whose product is searched; all members must be of the same counts in the
            same pixels.
        trials: in all.
        runner: where they run.
        objective: "log_z" by importance weights, or "elbo", its lower bound.
        options: of `tune`.

    Raises:
        InputError: an ensemble whose evidences cannot be compared, or that is no product; anything else before it
            starts.
    """
    if objective not in OF_MODELS:
        raise unknown_name("objective", objective, OF_MODELS)
    ensemble = expansion.ensemble
    if ensemble.combine != "product":
        raise InputError("ensemble: a search chooses along axes; expected combine = 'product'")
    if ensemble.fit.method != "svi" or ensemble.fit.emulator:
        raise InputError(
            f"ensemble: a search fits a guide to the likelihood itself, got method '{ensemble.fit.method}'; set "
            "method = 'svi' and emulator = false under [fit]"
        )
    members = expansion.members
    _check_same_data(expansion, members)
    labels = {axis: tuple(dict.fromkeys(member.labels[axis] for member in members)) for axis in members[0].labels}
    space = {axis: CategoricalDistribution(choices) for axis, choices in labels.items() if len(choices) > 1}
    if not space:
        raise InputError("ensemble: no axis has more than one choice; there is nothing to search")
    specs = {Store.key({axis: member.labels[axis] for axis in space}): member.spec for member in members}
    about = {"format": FORMAT, "members": sorted(map(Store.key, specs.values())), "objective": objective}
    return tune(
        folder,
        MemberObjective(expansion.task, specs, objective),
        space,
        trials,
        runner,
        about=about,
        direction=DIRECTIONS[objective],
        rungs=RUNGS,
        resources=options.pop("resources", ensemble.resources),
        seed=options.pop("seed", ensemble.seed),
        **options,
    )


def _check_same_data(expansion: Expansion, members: list[Member]) -> None:
    """Refuse members of other counts or pixels: evidences of different data cannot be compared."""
    known = [counts for counts, _ in expansion.task.places]
    first = _data_of(members[0], known)
    for member in members[1:]:
        if _data_of(member, known) != first:
            differ = [axis for axis, label in member.labels.items() if label != members[0].labels[axis]]
            raise InputError(
                f"ensemble: axis {' or '.join(differ)} changes the data: '{members[0].name}' and '{member.name}' have"
                " evidences that cannot be compared; give one choice there"
            )


def _data_of(member: Member, known: list[str]) -> tuple[Any, ...]:
    counts = [checksum for checksum in member.spec["data"]["sha256"].values() if checksum in known]
    return (member.spec["model"]["region"], counts)
