"""Simulated skies of a model from a parameter point, from its prior, or from a posterior: the prior and posterior
predictive distributions as files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.draws import picked
from gammasky.engine.infer.posterior import read_posterior_of
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import LikelihoodSimulator, PhotonSimulator, build_simulator
from gammasky.engine.model.values import Parameters
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.manifest import shipped_manifests
from gammasky.engine.sky.simulated import sky_name, write_sky, write_sources


@dataclass(frozen=True)
class SimulationPlan:
    """Which skies to simulate, and how.

    Attributes:
        params: the parameters of every sky, by name; or
        posterior: a posterior file, one draw for each sky; or neither: one draw of the prior for each.
        n: number of skies; seed: of every random number.
        simulator: "photons" or "likelihood".
        sources: write the true sources of each sky too.
        asimov: the expected counts themselves, which need not be whole, in place of a random sky.
    """

    params: Mapping[str, Any] | None = None
    posterior: Path | None = None
    n: int = 1
    seed: int = 0
    simulator: str = "photons"
    sources: bool = False
    asimov: bool = False

    def __post_init__(self) -> None:
        if self.params is not None and self.posterior is not None:
            raise InputError("params and posterior exclude each other; give one of them")
        if self.n < 1:
            raise InputError(f"n: expected a whole number of at least 1, got {self.n}")
        if self.asimov and self.sources:
            raise InputError("asimov and sources exclude each other: expected counts have no sources; give one of them")
        if self.sources and self.simulator != "photons":
            raise InputError(f"sources: the simulator '{self.simulator}' knows no sources; expected 'photons'")


def simulate_to_folder(
    model: str,
    data: str,
    data_dir: Path | None,
    out: Path,
    plan: SimulationPlan,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Path]:
    """Simulate skies and write them as datasets of their own to the folder `out`.

    Args:
        model: a preset's name or a TOML file; data, data_dir: the dataset that gives exposure, templates and PSF.
        out: receives sky_NNNN.fits, sky_NNNN.toml and, with `plan.sources`, sky_NNNN_sources.fits.
        overwrite: replace skies that `out` holds.

    Returns:
        the manifests.

    Raises:
        InputError: bad input, found before anything is written; `out` already holds skies; another
            process that writes there.
        KeyboardInterrupt: after Ctrl-C; the skies that were written stay, each whole.
    """
    with folder_made(out), folder_held(out):
        _check_folder(out, overwrite)
        sky_model = SkyModel(model, Dataset.open(data, data_dir))
        simulator = PhotonSimulator(sky_model) if plan.asimov else build_simulator(plan.simulator, sky_model)
        points = parameter_points(sky_model, plan)
        base = _base(sky_model.dataset, data, data_dir)
        how = "expected counts" if plan.asimov else f"simulated ({plan.simulator}, seed {plan.seed})"
        about = f"{how}: model {sky_model.spec.name} on {sky_model.dataset.name}"
        written: list[Path] = []
        with Interrupts() as interrupts:
            for number, point in enumerate(points):
                truth = {name: np.asarray(value).tolist() for name, value in point.items()}
                counts = _counts(sky_model, simulator, point, number, out, plan)
                path = write_sky(
                    out, number, simulator.pixels, counts,
                    base=base, truth=truth, description=about, expected=plan.asimov,
                )  # fmt: skip
                written.append(path)
                if not quiet and (number + 1) % 100 == 0:
                    print(f"gammasky: {number + 1}/{plan.n} skies", file=sys.stderr, flush=True)
                interrupts.raise_if_pending()
        _remove_older(out, plan)
    return written


def _counts(
    model: SkyModel,
    simulator: PhotonSimulator | LikelihoodSimulator,
    point: Parameters,
    number: int,
    out: Path,
    plan: SimulationPlan,
) -> np.ndarray:
    """The counts of sky `number`; its true sources, where they are asked for, are written to `out`."""
    if plan.asimov and isinstance(simulator, PhotonSimulator):
        return simulator.expected(point)
    if plan.sources and isinstance(simulator, PhotonSimulator):
        counts, lists = simulator.draw_with_sources(point, seed=plan.seed, first=number)
        names = [population.name for population in model.spec.populations]
        write_sources(out / f"{sky_name(number)}_sources.fits", lists[0], names)
        return counts[0]
    return simulator.draw(point, seed=plan.seed, first=number)[0]


def parameter_points(model: SkyModel, plan: SimulationPlan) -> list[Parameters]:
    """The parameters of each sky, inside their priors.

    Raises:
        InputError: a parameter that is missing, unknown or outside its prior; a posterior of another model.
    """
    if plan.params is not None:
        point = model.point(plan.params)
        model.require_inside_priors(point)
        return [point] * plan.n
    if plan.posterior is None:
        draws = np.random.default_rng(plan.seed).standard_normal((plan.n, model.n_latent))
        return [model.parameters(jnp.asarray(z)) for z in draws]
    points = list(_posterior_points(model, plan.posterior, plan.n, plan.seed))
    for point in points:
        model.require_inside_priors(point)
    return points


def _posterior_points(model: SkyModel, path: Path, n: int, seed: int) -> Iterator[Parameters]:
    """Random draws of a posterior file of this model, as many as there are skies."""
    posterior = read_posterior_of(path, model)["posterior"]
    stacked = {
        name: np.asarray(posterior[name].values).reshape(-1, *slot.shape) for name, slot in model.latent.slots.items()
    }
    size = len(next(iter(stacked.values())))
    for draw in picked(size, n, seed):
        yield model.point({name: values[draw] for name, values in stacked.items()})


def _base(dataset: Dataset, data: str, data_dir: Path | None) -> str:
    """Name the dataset that skies are made on, as their manifests do; one with a `data_dir` needs that again."""
    if data in shipped_manifests():
        return data if data_dir is None else str(dataset.folder.absolute())
    return str(Path(data).absolute())


def _remove_older(out: Path, plan: SimulationPlan) -> None:
    """Remove what is left of older skies once the new ones are there: files that the plan does not make."""
    kinds = (".fits", ".toml", "_sources.fits") if plan.sources else (".fits", ".toml")
    made = {f"{sky_name(number)}{kind}" for number in range(plan.n) for kind in kinds}
    for path in out.iterdir():
        if re.fullmatch(r"sky_\d{4,}(\.fits|\.toml|_sources\.fits)", path.name) and path.name not in made:
            path.unlink()


def _check_folder(out: Path, overwrite: bool) -> None:
    if not overwrite and any(out.glob("sky_*.*")):
        raise InputError(f"`out` {out}: holds simulated skies; use `overwrite=True`, or choose another folder")
