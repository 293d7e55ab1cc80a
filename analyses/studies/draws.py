"""The draws of a member of a study as parameters, and what turns its counts into intensities and fluxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.distributed.record import Finished
from gammasky.engine.infer.derived import intensity_scale, reference_exposure
from gammasky.engine.infer.importance import RELIABLE_K_HAT, systematic
from gammasky.engine.model import model_from_table
from gammasky.engine.model.energy_bins import EnergyBins
from gammasky.engine.model.latent import Latent
from gammasky.engine.model.parameters import parameter_labels
from gammasky.engine.model.spec import ModelSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MemberDraws:
    """Draws of one fit, of equal weight.

    Attributes:
        bins: the energy bins of its data.
        latent: the layout of z.
        z (n, D), log_likelihood (n,): the draws.
        numbers: parameters (n, ...) and quantities (n,) by name; of quantities those that every draw has.
    """

    spec: ModelSpec
    bins: EnergyBins
    latent: Latent
    z: Floats
    log_likelihood: Floats
    numbers: dict[str, Floats]


@dataclass(frozen=True)
class Scales:
    """What turns counts into physical units.

    Attributes:
        bins: the energy bins and their exposures.
        intensity [cm^-2 s^-1 sr^-1]: of one count per pixel; None with several energy bins, where it is not one number.
        exposure_cm2_s: at which source counts are counted: the mean over the exposure regions of their means; None with
            several energy bins.
        thresholds [photons]: of catalogues, at that exposure.
    """

    bins: EnergyBins
    intensity: float | None
    exposure_cm2_s: float | None
    thresholds: dict[str, tuple[float, float]]


def member_draws(member: Finished, scales: Scales, *, reweighted: bool = False) -> MemberDraws:
    """The draws of a finished member.

    Args:
        member: as its file has it.
        scales: of its data.
        reweighted: draws with importance weights that can be trusted (k-hat) are drawn again by these.
    """
    row, arrays, spec = member.row, member.arrays, model_from_table(member.spec["model"])
    z, latent = arrays["z"], Latent(spec.parameters, parameter_labels(spec, scales.bins.edges_gev))
    chosen = np.arange(len(z))
    if reweighted and "weights" in arrays and float(row.get("k_hat", np.inf)) < RELIABLE_K_HAT:
        chosen = systematic(arrays["weights"], len(z), seed=0)
    points = jax.jit(jax.vmap(latent.parameters, in_axes=(None, 0)))(latent.arrays(), z[chosen])
    quantities = {name: arrays[f"quantity_{name}"] for name in QUANTITIES if f"quantity_{name}" in arrays}
    whole = {name: values[chosen] for name, values in quantities.items() if len(values) == len(z)}
    numbers = {name: np.asarray(values) for name, values in points.items()} | whole
    return MemberDraws(spec, scales.bins, latent, z[chosen], arrays["log_likelihood"][chosen], numbers)


def all_scales(task: EnsembleTask, specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Scales]:
    """The scales of every member, by name; members on the same pixels of the same data share theirs.

    Raises:
        InputError: data that are not there.
    """
    known: dict[str, Scales] = {}
    found = {}
    for name, spec in specs.items():
        where = json.dumps([spec["data"], spec["model"]["region"]], sort_keys=True)
        if where not in known:
            known[where] = _scales(task, spec)
        found[name] = known[where]
    return found


def _scales(task: EnsembleTask, spec: Mapping[str, Any]) -> Scales:
    """The scales of a member."""
    dataset = task.dataset(dict(spec))
    pixels = model_from_table(spec["model"]).region.flatten(dataset)
    exposure = reference_exposure(pixels)
    thresholds = {} if exposure is None else dataset.manifest.thresholds_in_counts(exposure)
    return Scales(EnergyBins.of(pixels), intensity_scale(pixels), exposure, thresholds)
