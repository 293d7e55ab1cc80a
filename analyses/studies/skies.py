"""Skies that a study makes before it fits them: smooth-only ones of a changed model, and data with a signal added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.analyses.ensemble.diffuse import with_diffuse, with_modulation
from gammasky.analyses.ensemble.patch import patched
from gammasky.analyses.studies.study import InjectedSkies, SmoothSkies
from gammasky.engine.infer.optimise import laplace
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.uses import component_uses
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.simulated import sky_name, write_sky

_STARTS = 4  # of the climb to a best fit
SEPARATOR = "."  # between a truth and the number of its sky


def make_skies(skies: SmoothSkies | InjectedSkies, base: ModelSpec, data: Dataset, where: str, folder: Path) -> Any:
    """The entries of the axis `sky`; skies that `folder` holds already are left as they are.

    Args:
        skies: what to make.
        base: model of the ensemble.
        data: dataset that is changed, or whose exposure, templates and PSF are taken; where: how a manifest names it.
        folder: receives a folder for each truth or strength.

    Raises:
        InputError: a model that cannot be used.
        NonFiniteLikelihoodError: no best fit was found.
    """
    draws: dict[str, Callable[[], Drawn]]
    if isinstance(skies, SmoothSkies):
        draws = {label: partial(_smooth, skies, truth, base, data) for label, truth in skies.truths.items()}
    else:
        draws = {f"{strength:g}": partial(_injected, skies, strength, base, data) for strength in skies.strengths}
    entries = []
    for label, draw in draws.items():
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        wanted = [place / f"{sky_name(number)}.toml" for number in range(skies.number)]
        if not all(path.is_file() for path in wanted):
            for number, (model, counts, truth) in enumerate(draw()):
                if wanted[number].is_file():
                    continue
                told = f"study sky {label}: seed {skies.seed}"
                write_sky(place, number, model.pixels, counts, base=where, truth=truth, description=told)
        entries += [{"name": f"{label}{SEPARATOR}{number}", "data": str(path)} for number, path in enumerate(wanted)]
    return entries


Drawn = Iterator[tuple[SkyModel, np.ndarray, dict[str, Any]]]


def _smooth(skies: SmoothSkies, changes: dict[str, Any], base: ModelSpec, data: Dataset) -> Drawn:
    """Model, counts (n_region,) and parameters of each sky: Poisson counts of the best fit."""
    table = base.model_dump(mode="json")
    if "diffuse" in changes:
        table = with_diffuse(table, changes["diffuse"])
    if "l_max" in changes:
        table = with_modulation(table, changes["l_max"])
    table = patched(table, {k: v for k, v in changes.items() if k not in ("diffuse", "l_max")}, "truths")
    spec = model_from_table(table | {"parameters": used_parameters(table)})
    model = SkyModel(spec, data)
    theta = model.parameters(jnp.asarray(laplace(model, skies.seed, _STARTS).mode))
    truth = {name: np.asarray(value).tolist() for name, value in theta.items()}
    simulator = PhotonSimulator(model)
    for counts in simulator.draw(theta, n=skies.number, seed=skies.seed):
        yield model, counts, truth


def used_parameters(table: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a component uses."""
    spec = model_from_table(table)
    used = {name for component in spec.components for name, _, _ in component_uses(component)}
    return {name: prior for name, prior in table["parameters"].items() if name in used}


def _injected(skies: InjectedSkies, strength: float, base: ModelSpec, data: Dataset) -> Drawn:
    """Model, counts (n_region,) and parameters of each sky: the data plus Poisson counts of the signal."""
    component = {"name": "signal", "norm": "strength", "template": {"nfw": {"gamma": skies.gamma}}}
    table = {
        "name": "signal",
        "region": base.region.model_dump(mode="json"),
        "parameters": {"strength": {"prior": "uniform", "low": 0.0, "high": 100.0}},
        "components": [component],
    }
    model = SkyModel(model_from_table(table), data)
    observed = data.counts.ravel()[model.pixels.index[: model.pixels.n_region]]
    simulator = PhotonSimulator(model)
    for number in range(skies.number):
        # the stream of a strength is its own: equal seeds would add the same photons at every strength
        drawn = simulator.draw({"strength": jnp.asarray(strength)}, seed=_stream(skies.seed, strength), first=number)
        yield model, np.where(observed < 0, observed, observed + drawn[0]), {"strength": strength}


def _stream(seed: int, strength: float) -> int:
    """A seed for the photons of one strength."""
    return int(np.random.SeedSequence([seed, int(np.float64(strength).view(np.uint64))]).generate_state(1)[0])
