"""Calibration of a model and a method: truths from the prior, skies, fits, ranks.

Simulation-based calibration (Talts et al., arXiv:1804.06788): with truths from exactly the fitted prior and data from
the likelihood's own distribution, the rank of the truth among the posterior draws is uniform. Scenarios that simulate
photons on the sphere measure something else, what a likelihood of single pixels neglects; the two are never mixed.
With truths from a posterior, each fit is to the observed and the simulated counts together (posterior SBC, Saeilynoja
et al., arXiv:2502.03279), and the calibration is that near the observed sky. Each posterior may be ranked a second
time with errors that are honest about pixels that share sources (`engine.infer.honest`).
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.ensemble.cost import estimated_seconds
from gammasky.analyses.ensemble.datasets import data_identity
from gammasky.analyses.ensemble.expansion import has_points
from gammasky.analyses.ensemble.file import beside
from gammasky.analyses.programs import share_programs
from gammasky.analyses.sky_study import SkyTask
from gammasky.distributed.campaign import Tally, load_member, read_rows, run_campaign
from gammasky.distributed.member import Desk, Member, Resources, Result, Row
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.derived import FIELD_SD, POINT_SOURCE_FRACTION, derive, quoted_names
from gammasky.engine.infer.godambe import Godambe, godambe, require_enough
from gammasky.engine.infer.honest import Honest, adjusted, log_likelihoods_of_counts
from gammasky.engine.infer.optimise import BATCH, highest
from gammasky.engine.infer.posterior import read_posterior_of
from gammasky.engine.infer.result import Fit, log_prior
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator, build_simulator
from gammasky.engine.runtime import configure
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.psf import DeltaPSF

Floats = NDArray[np.float64]

#: Scenario -> (simulator, whether the PSF is taken away from simulation and likelihood alike).
SCENARIOS = {
    "likelihood": ("likelihood", False),
    "photons": ("photons", False),
    "photons-delta": ("photons", True),
}
METHOD = Settings()
N_DRAWS = 1000  # of each posterior
N_WEIGHTED = 10_000  # draws that these are chosen from by their weights
ONE_CORE = Resources()
_making = threading.Lock()
DIAGNOSTICS = ("elbo", "log_z", "k_hat")
FACTS = ("converged", "reliable", "affine")  # of a fit: its optimiser, its verdict, its honest draws


@dataclass(frozen=True)
class Calibration:
    """What a calibration study does.

    Attributes:
        model: a preset's name or a TOML file; data, data_dir: the dataset of exposure, templates and PSF.
        scenario: see SCENARIOS.
        skies: number of simulated skies.
        method: of the fits; sky j is fitted with seed method.seed + j.
        reweight: importance weights put the draws of each fit right, as far as they can; what is left to be seen is
            then the likelihood's calibration, not the guide's.
        honest: simulated skies that honest errors are measured on, for each fit, whose adjusted draws are ranked beside
            the plain ones; None: without.
        posterior: a posterior file to draw truths from, its sky being the dataset's counts; None: the prior.
        seed: of truths and skies.
    """

    model: str = "calibration"
    data: str = "demo"
    data_dir: str | None = None
    scenario: str = "likelihood"
    skies: int = 32
    method: Settings = METHOD
    reweight: bool = False
    honest: int | None = None
    posterior: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise unknown_name("scenario", self.scenario, SCENARIOS)
        if isinstance(self.skies, bool) or not isinstance(self.skies, int) or self.skies < 2:
            raise InputError(f"skies: expected a whole number of at least 2, got {self.skies!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed: expected a whole number of at least 0, got {self.seed!r}")
        if self.posterior is not None and SCENARIOS[self.scenario][1]:
            raise InputError(f"scenario '{self.scenario}': takes the PSF away from a sky that has one; use 'photons'")
        if self.honest is not None and (isinstance(self.honest, bool) or self.honest < 1):
            raise InputError(f"honest: expected a number of skies, at least 1, got {self.honest!r}")
        replace(self.method, seed=self.method.seed + self.skies)  # too large for the last fit: told before the first


@dataclass(frozen=True, eq=False)
class Skies:
    """Model, truths z (J, D) and counts (J, P) of a study; `observed` (P,) joins each fit of posterior SBC."""

    model: SkyModel
    truth: Floats
    counts: NDArray[np.int64]
    observed: NDArray[np.int64] | None

    @cached_property
    def simulator(self) -> PhotonSimulator:
        """Simulates the photons of whatever skies the fits need; made once for all of them."""
        return PhotonSimulator(self.model)

    def model_of(self, number: int) -> SkyModel:
        """The model on the counts of sky `number`."""
        return self.model.with_counts(self.counts[number], *([] if self.observed is None else [self.observed]))


def simulate_skies(study: Calibration) -> Skies:
    """Truths and counts of every sky; the same whatever the number of skies asked for.

    Raises:
        InputError: a model, dataset or posterior that cannot be used.
    """
    simulator_name, no_psf = SCENARIOS[study.scenario]
    dataset = Dataset.open(study.data, study.data_dir)
    dataset = dataset.with_psf(DeltaPSF()) if no_psf else dataset
    model = SkyModel(study.model, dataset)
    if study.honest is not None:
        require_enough(study.honest, model.n_latent)
    truth = _truths(study, model)
    simulator, n_fit = build_simulator(simulator_name, model), model.pixels.n_fit
    counts = np.concatenate(
        [
            simulator.draw(model.parameters(jnp.asarray(z)), seed=study.seed, first=number)[:, :n_fit]
            for number, z in enumerate(truth)
        ]
    )
    return Skies(model, truth, counts, model.pixels.counts if study.posterior else None)


def _truths(study: Calibration, model: SkyModel) -> Floats:
    """Latent truths (J, D); sky j has its own stream of random numbers."""
    streams = [np.random.default_rng([study.seed, number]) for number in range(study.skies)]
    if study.posterior is None:
        return np.stack([stream.standard_normal(model.n_latent) for stream in streams])
    draws = _posterior_draws(study.posterior, model)
    return np.stack([draws[stream.integers(len(draws))] for stream in streams])


def _posterior_draws(path: str, model: SkyModel) -> Floats:
    """Latent draws (n, D) of a posterior of this model and its data; others would be the wrong truths, silently."""
    tree = read_posterior_of(path, model)
    return np.concatenate(np.asarray(tree["posterior"]["z"].values))


def quantities(model: SkyModel) -> list[str]:
    """Names of what is calibrated: every element of every parameter but for blocks, of those the standard deviation of
    their fields, and the point-source fractions."""
    names = [name for slot in model.latent.slots.values() for name in slot.names]
    return names + [name for of_kind in _ranked(model).values() for name in of_kind]


def _ranked(model: SkyModel) -> dict[str, list[str]]:
    """The derived numbers that have a rank: a luminosity may be fixed by the model, and then all draws are alike."""
    return {kind: of for kind, of in quoted_names(model).items() if kind in (FIELD_SD, POINT_SOURCE_FRACTION)}


def values_of(model: SkyModel, z: Floats) -> Floats:
    """The quantities (n, K) of latent draws z (n, D)."""
    found = derive(model, z)
    alone = [name for name, slot in model.latent.slots.items() if not slot.block]
    return np.concatenate([found[name].reshape(len(z), -1) for name in (*alone, *_ranked(model))], axis=1)


@dataclass(frozen=True)
class FitSky(SkyTask):
    """The task of one member: fit sky `number`. Skies and compiled programs are kept for the next."""

    study: Calibration
    _kept: dict[str, Skies] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """Arrays truth (K,), draws (N_DRAWS, K) and, if asked for, honest (N_DRAWS, K); a row of DIAGNOSTICS, FACTS and
        seconds."""
        number = spec["sky"]
        desk.report(0.0)
        with _making:  # of lanes, the first makes the skies for all
            if not self._kept:
                configure()
                self._kept["skies"] = simulate_skies(self.study)
            skies = self._kept["skies"]
            model = skies.model_of(number)
        method = replace(self.study.method, seed=self.study.method.seed + number)
        share_programs(model, method, desk.lanes)
        result = fit(model, method, n_draws=N_WEIGHTED if self.study.reweight else N_DRAWS)
        chosen = _chosen(result, self.study.reweight, method.seed)
        arrays = {
            "truth": values_of(model, skies.truth[number : number + 1])[0],
            "draws": values_of(model, result.z[chosen]),
        }
        found = {name: float(result.diagnostics[name]) for name in DIAGNOSTICS if name in result.diagnostics}
        facts: dict[str, bool] = {}
        if self.study.honest is not None:
            made = self._honest(model, skies, result, chosen, method.seed)
            arrays["honest"], facts["affine"] = values_of(model, made.z), made.method == "affine"
        facts |= {"converged": result.status != "stopped", "reliable": result.verdict.level == "reliable"}
        row: Row = {**found, **facts, "seconds": result.seconds, "observation": model.pixels.digest}
        return Result(arrays, row)

    def _honest(self, model: SkyModel, skies: Skies, result: Fit, chosen: NDArray[np.int64], seed: int) -> Honest:
        """The adjusted draws of a fit."""
        assert self.study.honest is not None
        highest_draws = np.argsort(-(result.log_likelihood + log_prior(result.z)))[:BATCH]
        best = highest(model, result.z[highest_draws])
        found = godambe(model, best, skies=self.study.honest, seed=seed, simulator=skies.simulator)
        found = found if skies.observed is None else near_observed(found)
        z = result.z[chosen]
        return adjusted(z, log_likelihoods_of_counts(model, z, result.log_likelihood[chosen]), found, seed)


def near_observed(found: Godambe) -> Godambe:
    """The Godambe information of an observed and a simulated sky, where the truth is drawn from the observed one's fit.

    With H_L and J of one sky, a truth of the plain posterior is off the observed best fit by e ~ N(0, (P + H_L)^-1),
    and the best fit of both skies is off the truth by H^-1 (s - (P + H_L) e), with H = P + 2 H_L and the score
    s ~ N(0, J) of the simulated sky: its covariance is

        H^-1 (P + H_L + J) H^-1.

    The observed sky is one, given to all; how its score varies from sky to sky is in no truth. So the variability of
    both is H_L + J, not 2 J.

    Args:
        found: of two looks at the sky, 2 H_L and 2 J.
    """
    return replace(found, variability=(found.sensitivity + found.variability) / 2.0)


def _chosen(result: Fit, reweight: bool, seed: int) -> NDArray[np.int64]:
    """Which N_DRAWS draws stand for a posterior: drawn by their weights, or evenly spaced (chains are thinned)."""
    if reweight and result.weights is not None:
        return result.weights.resampled(N_DRAWS, seed)
    return np.linspace(0, len(result.z) - 1, N_DRAWS).astype(np.int64)


def run_calibration(
    study: Calibration, runner: Runner, folder: Path, *, resources: Resources = ONE_CORE, **options: Any
) -> CalibrationResult:
    """Fit every sky that has no result in `folder` yet, and put all results together.

    Args:
        study: what to do.
        runner: where the fits run; the results do not depend on it. resources: of each of them.
        folder: of the study's campaign, so that a killed run goes on from there.
        options: `keep_going`, `allow_mixed` and `quiet`, as of `run_campaign`.

    Raises:
        InputError: a model, dataset or posterior that cannot be used, before any fit; or fits that failed.
    """
    skies = simulate_skies(study)
    about, model = identity(study, skies.model), skies.model
    cost = estimated_seconds(study.method, model.pixels, model.n_latent, points=has_points(model.spec))
    members = [
        Member(f"sky {number}", {**about, "sky": number}, {"sky": str(number)}, cost) for number in range(study.skies)
    ]
    tally = run_campaign(
        folder, FitSky(_absolute(study)), members, resources, runner,
        manifest=about, grow=True, retry_failed=True, again="the same command goes on from there", **options,
    )  # fmt: skip
    if tally.failed:
        raise _failure(folder, tally, {member.name for member in members})
    results = [load_member(folder, Store.key(member.spec)) for member in members]
    stacked = {name: np.stack([result.arrays[name] for result in results]) for name in results[0].arrays}
    numbers = (*DIAGNOSTICS, *FACTS, "seconds")
    columns = {name: np.array([float(result.row.get(name, np.nan)) for result in results]) for name in numbers}
    return CalibrationResult(study, tuple(quantities(skies.model)), {**stacked, **columns})


def _absolute(study: Calibration) -> Calibration:
    """The study with absolute paths: a worker's current folder may be another."""
    given = {name: getattr(study, name) for name in ("model", "data", "data_dir", "posterior")}
    absolute: dict[str, Any] = {name: file and beside(Path.cwd(), file) for name, file in given.items()}
    return replace(study, **absolute)


def _failure(folder: Path, tally: Tally, asked: set[str]) -> InputError:
    """What to say of fits that failed; a table of fewer skies than it says would be wrong, silently."""
    first = next(row for row in read_rows(folder) if row["state"] == "failed" and row["name"] in asked)
    return InputError(
        f"{first['name']}: {first['error']} ({tally.failed} of {tally.total} fits failed, see {folder / 'failed'});"
        " the same command tries those again"
    )


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """Members of a study put together.

    Attributes:
        members: by name, truth (J, K), draws and, if asked for, honest (J, L, K), and DIAGNOSTICS, FACTS (0 or 1) and
            seconds (J,).
    """

    study: Calibration
    names: tuple[str, ...]
    members: dict[str, np.ndarray]


def identity(study: Calibration, model: SkyModel) -> dict[str, Any]:
    """What the members of a study depend on, their number apart."""
    posterior = study.posterior and hashlib.sha256(Path(study.posterior).read_bytes()).hexdigest()
    return {
        "model": hashlib.sha256(model.spec.model_dump_json().encode()).hexdigest(),
        "data": data_identity(model.dataset, model.spec),
        "scenario": study.scenario,
        "method": study.method.resolved(),
        "reweight": study.reweight,
        **({} if study.honest is None else {"honest": study.honest}),
        # a study that took the observed sky for another simulated one does not go on
        **({} if study.honest is None or not posterior else {"varying": "simulated sky"}),
        "posterior": posterior,
        "seed": study.seed,
        "draws": N_DRAWS,
    }
