"""The fit of one member: a model, data and settings go in as plain JSON, draws and a row of numbers come out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.analyses.ensemble.datasets import Place, data_identity
from gammasky.analyses.ensemble.pointwise import Pointwise, pointwise
from gammasky.analyses.ensemble.quantities import as_row, quantity_draws
from gammasky.analyses.programs import share_programs, structure_of
from gammasky.distributed.manifest import difference
from gammasky.distributed.member import Desk, Resources, Result
from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import load_checkpoint
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit, fit_identity
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.guide import GuideStage
from gammasky.engine.infer.stages.stage import Stage
from gammasky.engine.infer.stages.svi import SviStage
from gammasky.engine.infer.verdict import unless_finite
from gammasky.engine.machine import machine
from gammasky.engine.model import SkyModel, model_from_table, read_model
from gammasky.engine.runtime import configure
from gammasky.engine.sky.dataset import Dataset

FORMAT = "gammasky fit 2"  # of a member's spec; another number for specs that mean another result
N_DRAWS = 2000  # of a fitted guide: k-hat needs a thousand, the disk would rather have fewer
DIAGNOSTICS = ("elbo", "elbo_error", "log_z", "log_z_error", "k_hat", "ess", "efficiency", "coverage", "missed",
               "r_hat_max", "ess_bulk_min", "ess_tail_min", "gradients")  # fmt: skip
_DATASETS_KEPT = 2  # in each process
_RECENT = 100  # steps over which the ELBO on show is averaged


@dataclass(frozen=True)
class EnsembleTask:
    """Fits a member of an ensemble.

    Attributes:
        places: where each dataset is found, by the SHA-256 of its counts.
        base: the model that the members are changes of: a preset, or a model file by its whole path.
    """

    places: tuple[tuple[str, Place], ...]
    base: str

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """Fit one member; goes on from the checkpoint that an earlier attempt has left.

        Raises:
            InputError: data that are not there, or not those of the plan.
            GammaskyError: what `fit` raises.
        """
        configure()
        desk.report(0.0)
        model, settings = self.model(spec), Settings(**spec["fit"])
        share_programs(model, settings, desk.lanes)
        resume = _can_resume(desk.folder / CHECKPOINT, model, settings)
        found = fit(model, settings, folder=desk.folder, resume=resume, n_draws=spec["draws"], watch=_reporting(desk))
        density = pointwise(model, found.z)
        draws = quantity_draws(model, found.derived)
        row = {**_row(model, found, density, draws), **as_row(draws)}
        return Result(_arrays(model, found, density, draws), row)

    def about(self, resources: Resources) -> dict[str, str]:
        """The software and the device of this process.

        Raises:
            InputError: a GPU was asked for, and there is none here.
        """
        return machine(resources.gpus)

    def structure(self, spec: dict[str, Any]) -> str:
        """Members of one structure may be fitted side by side."""
        return structure_of(model_from_table(spec["model"]), Settings(**spec["fit"]))

    def model(self, spec: dict[str, Any]) -> SkyModel:
        """The model of a member on its data.

        A Python function beside the base model's file is run if the file is there and has the content of the plan.

        Raises:
            InputError: data or functions that are not there, or not those of the plan.
        """
        planned = model_from_table(spec["model"])
        if planned.functions:
            read_model(self.base)
        return SkyModel(planned, self.dataset(spec))

    def dataset(self, spec: dict[str, Any]) -> Dataset:
        """The data of a member: of those with its counts, the one that is as it was planned.

        Raises:
            InputError: data that are not there, or not those of the plan.
        """
        planned, table = spec["data"], model_from_table(spec["model"])
        places = [place for counts, place in self.places if counts in planned["sha256"].values()]
        if not places:
            raise InputError(f"dataset '{planned['name']}': not one of this campaign; plan it again")
        identities = [data_identity(_opened(place), table) for place in places]
        if planned not in identities:
            raise InputError(
                f"dataset '{planned['name']}': {difference(planned, identities[0])}; give the data that the campaign"
                " was planned with, or start another"
            )
        return _opened(places[identities.index(planned)])


@lru_cache(maxsize=_DATASETS_KEPT)
def _opened(place: Place) -> Dataset:
    return place.open()


def _can_resume(path: Path, model: SkyModel, settings: Settings) -> bool:
    """Whether an earlier attempt has left a whole checkpoint of this fit; one that is not is removed."""
    if not path.is_file():
        return False
    try:
        load_checkpoint(path, fit_identity(model, settings))
    except InputError:
        path.unlink()  # cut, or of an older version: the fit begins again
        return False
    return True


def _reporting(desk: Desk) -> Callable[[Stage], None]:
    """Tells the desk how far the fit is."""

    def report(stage: Stage) -> None:
        done, total, _ = stage.progress()
        elbo = stage.elbo[-_RECENT:] if isinstance(stage, SviStage | GuideStage) else np.zeros(0)
        desk.report(done / max(total, 1), **({"elbo": float(elbo.mean())} if elbo.size else {}))

    return report


def _arrays(model: SkyModel, found: Fit, density: Pointwise, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The draws and what follows from them."""
    arrays = {
        "z": found.z,
        "chains": np.array(found.chains),
        "log_likelihood": found.log_likelihood,
        "elbo": found.elbo,
        "pixel": model.pixels.index[: model.pixels.n_fit],
        "pixel_elpd": density.elpd,
        **{f"quantity_{name}": values for name, values in draws.items()},
    }
    if found.log_guide is not None:
        arrays["log_guide"] = found.log_guide
    if found.weights is not None:
        arrays["weights"] = found.weights.weights
    return arrays


def _row(
    model: SkyModel, found: Fit, density: Pointwise, draws: dict[str, np.ndarray]
) -> dict[str, float | str | int | bool]:
    """Size, verdict, diagnostics and predictive density."""
    pixels = model.pixels
    same_data = hashlib.sha256(pixels.index[: pixels.n_fit].tobytes() + pixels.counts.tobytes())
    verdict = unless_finite(found.verdict, {**draws, "predictive densities of the pixels": density.elpd})
    return {
        "data_group": same_data.hexdigest()[:12],
        "sky": hashlib.sha256(model.dataset.counts.tobytes()).hexdigest()[:12],
        "observation": pixels.digest,
        "method": found.method,
        "status": found.status,
        "verdict": verdict.level,
        "why": "" if verdict.level == "reliable" else "; ".join(verdict.reasons),
        **{name: float(found.diagnostics[name]) for name in DIAGNOSTICS if name in found.diagnostics},
        "elpd": float(density.elpd.sum()),
        "p_waic": float(density.penalty.sum()),
        "n_unsure": density.n_unsure,
        "fit_seconds": found.seconds,
        "n_pixels": pixels.n_fit,
        "n_photons": int(pixels.counts.sum()),
        "n_parameters": model.n_latent,
    }
