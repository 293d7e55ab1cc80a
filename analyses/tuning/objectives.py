"""What is made best: the ELBO or the evidence of a fit, its rate, or its k-hat, as far as a trial has come."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.analyses.programs import share_programs
from gammasky.analyses.tuning.climb import Climb, start_elbo
from gammasky.distributed.member import Resources, Row
from gammasky.distributed.tuning.rung import Reached, TrialDesk
from gammasky.distributed.tuning.space import Params
from gammasky.engine.errors import DivergedFitError, NonFiniteLikelihoodError
from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.optimise import Laplace, laplace
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.stage import N_STARTS
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel
from gammasky.engine.runtime import configure

#: Objective -> the direction in which it is better.
DIRECTIONS = {"elbo": "maximize", "elbo_per_second": "maximize", "k_hat": "minimize", "log_z": "maximize"}
OF_SETTINGS = ("elbo", "elbo_per_second", "k_hat")
OF_MODELS = ("elbo", "log_z")
MEMBER = "member"  # the name under which a trial is given what it is a fit of
_PROGRAMS_KEPT = 4  # settings whose compiled steps a process keeps: about 100 MB each of the fiducial model


@dataclass(frozen=True)
class FitObjective:
    """Settings of a variational fit, on one model and its data.

    Attributes:
        task: opens the data; spec: model and data of the fit, as JSON text.
        objective: one of OF_SETTINGS.
        steps: of a fit, where settings do not say.
        seconds: that the steps of a fit may take; None: as long as they do.
        seed: of the fits.
    """

    task: EnsembleTask
    spec: str
    objective: str
    steps: int
    seconds: float | None
    seed: int

    def about(self, resources: Resources) -> dict[str, str]:
        """The software and the device of this process, as of the task."""
        return self.task.about(resources)

    def __call__(self, params: Params, share: float, desk: TrialDesk) -> Reached:
        """Bring the fit to that share of its steps, or to the end of its time.

        Raises:
            InputError: data that are not there, or others than the search began with.
        """
        with Interrupts() as interrupts:
            configure()
            model, start = _opened(self.task, self.spec, self.seed)
            _drop_programs(model)
            climb = Climb(model, self.settings(params), start)
            value = lambda weights: self._value(weights, climb.seconds)  # noqa: E731
            return _reached(model, climb, share, self.seconds, desk, value, interrupts)

    def settings(self, params: Params) -> Settings:
        """The whole settings of a trial.

        Raises:
            InputError: settings that cannot be used.
        """
        return Settings(**{"method": "svi", "emulator": False, "steps": self.steps, "seed": self.seed, **params})

    def _value(self, weights: Importance, seconds: float) -> float:
        if self.objective == "elbo_per_second":
            before = _start_elbo(self.task, self.spec, self.seed)
            return (weights.elbo - before) / max(seconds, 1e-9)
        return float(getattr(weights, self.objective))


@dataclass(frozen=True)
class MemberObjective:
    """Members of an ensemble on the same data.

    Attributes:
        task: of the ensemble.
        objective: one of OF_MODELS.
    """

    task: EnsembleTask
    objective: str

    def about(self, resources: Resources) -> dict[str, str]:
        """The software and the device of this process, as of the task."""
        return self.task.about(resources)

    def __call__(self, params: Params, share: float, desk: TrialDesk) -> Reached:
        """Bring the fit of the member in `params` to that share of its steps.

        Raises:
            InputError: data that are not there, or others than the search began with.
        """
        with Interrupts() as interrupts:
            configure()
            spec = params[MEMBER]
            model, settings = self.task.model(spec), Settings(**spec["fit"])
            share_programs(model, settings)
            climb = Climb(model, settings, laplace(model, settings.seed, N_STARTS))
            value = lambda weights: float(getattr(weights, self.objective))  # noqa: E731
            return _reached(model, climb, share, None, desk, value, interrupts)


def _reached(
    model: SkyModel,
    climb: Climb,
    share: float,
    seconds: float | None,
    desk: TrialDesk,
    value_of: Callable[[Importance], float],
    interrupts: Interrupts,
) -> Reached:
    """Go on to a share of all steps and measure; a fit that has run away is told as such, and goes no further.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is on disk.
    """
    total, limit = climb.svi.settings.resolved()["steps"], math.inf if seconds is None else seconds

    def watch(done: int) -> None:
        desk.report(done / total)
        if interrupts.pending:
            climb.save(desk.folder)
            interrupts.raise_if_pending()

    told: Row = {"observation": model.pixels.digest}
    climb.restore(desk.folder)
    try:
        climb.to(max(round(share * total), 1), limit, watch)
        weights = climb.measure()
    except (DivergedFitError, NonFiniteLikelihoodError) as error:
        return Reached(None, row=told, why=str(error))
    climb.save(desk.folder)
    interrupts.raise_if_pending()
    row = {
        "steps_done": int(climb.elbo.size),
        "seconds": climb.seconds,
        "elbo": weights.elbo,
        "elbo_error": weights.elbo_error,
        "log_z": weights.log_z,
        "k_hat": weights.k_hat,
    }
    value = value_of(weights)
    if not math.isfinite(value):
        return Reached(None, row=told, why=f"the value is {value}")
    ended = climb.elbo.size >= total or climb.seconds >= limit
    return Reached(value, ended, {**told, **{name: number for name, number in row.items() if math.isfinite(number)}})


@lru_cache(maxsize=1)
def _opened(task: EnsembleTask, spec: str, seed: int) -> tuple[SkyModel, Laplace]:
    """The model on its data and where its fits start, once in each process."""
    model = task.model(json.loads(spec))
    return model, laplace(model, seed, N_STARTS)


@lru_cache(maxsize=1)
def _start_elbo(task: EnsembleTask, spec: str, seed: int) -> float:
    return start_elbo(*_opened(task, spec, seed), seed)


def _drop_programs(model: SkyModel) -> None:
    """Forget the compiled steps of earlier settings when there are many."""
    of_fits = [key for key in model.programs if isinstance(key, tuple) and str(key[0]).startswith("svi")]
    if len(of_fits) > 2 * _PROGRAMS_KEPT:  # steps and draws
        for key in of_fits:
            del model.programs[key]
