"""Skies that a study makes before it fits them: smooth-only ones of a changed model, and data with a signal added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.analyses.ensemble.axes import Known, Plan, read_choice
from gammasky.analyses.ensemble.datasets import data_identity
from gammasky.analyses.ensemble.patch import patched
from gammasky.analyses.studies.study import InjectedSkies, SmoothSkies
from gammasky.engine.errors import InputError
from gammasky.engine.infer.optimise import laplace
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.manifest import read_any_manifest
from gammasky.engine.sky.simulated import sky_name, write_sky

_STARTS = 4  # of the climb to a best fit
_AXES = ("diffuse", "l_max")  # of an ensemble, that a truth may choose on
SEPARATOR = "."  # between a truth and the number of its sky


def make_skies(skies: SmoothSkies | InjectedSkies, base: ModelSpec, data: Dataset, where: str, folder: Path) -> Any:
    """The entries of the axis `sky`; skies that `folder` holds already are left as they are.

    Args:
        skies: what to make.
        base: model of the ensemble.
        data: dataset that is changed, or whose exposure, templates and PSF are taken; where: how a manifest names it.
        folder: receives a folder for each truth or strength.

    Raises:
        InputError: a model that cannot be used; skies there of other settings.
        NonFiniteLikelihoodError: no best fit was found.
    """
    entries = []
    for label, plan in _plans(skies, base, data).items():
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        wanted = [place / f"{sky_name(number)}.toml" for number in range(plan.n_skies)]
        told = f"study sky {label}: seed {skies.seed}, made of {plan.origin}"
        for path in wanted:
            if path.is_file() and read_any_manifest(path).description != told:
                raise InputError(f"{path}: made with another seed, truth, model or data; choose another folder")
        if not all(path.is_file() for path in wanted):
            for path, (number, (model, counts, truth)) in zip(wanted, enumerate(plan.draw()), strict=True):
                if not path.is_file():
                    write_sky(place, number, model.pixels, counts, base=where, truth=truth, description=told)
        entries += [{"name": f"{label}{SEPARATOR}{number}", "data": str(path)} for number, path in enumerate(wanted)]
    return entries


Drawn = Iterator[tuple[SkyModel, np.ndarray, dict[str, Any]]]


@dataclass(frozen=True)
class Batch:
    """Skies of one truth or strength: how many, digest of all that they are made of, and how they are drawn."""

    n_skies: int
    origin: str
    draw: Callable[[], Drawn]


def _plans(skies: SmoothSkies | InjectedSkies, base: ModelSpec, data: Dataset) -> dict[str, Batch]:
    """What is to be made, by the name of its folder."""
    seen = data_identity(data, base)

    def origin(*own: Any) -> str:
        text = json.dumps([skies.kind, own, base.model_dump(mode="json"), seen], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    if isinstance(skies, SmoothSkies):
        return {
            label: Batch(skies.number, origin(changes), partial(_smooth, skies, label, base, data))
            for label, changes in skies.truths.items()
        }
    plans = {}
    for strength in skies.strengths:
        n_skies = skies.number if strength else 1  # without a signal every sky is the data
        draw = partial(_injected, skies, strength, n_skies, base, data)
        plans[f"{strength:g}"] = Batch(n_skies, origin(strength, skies.gamma), draw)
    return plans


def _smooth(skies: SmoothSkies, label: str, base: ModelSpec, data: Dataset) -> Drawn:
    """Model, counts (n_region,) and parameters of each sky: Poisson counts of the best fit."""
    table, changes = base.model_dump(mode="json"), skies.truths[label]
    plan = Plan(table, skies.seed, label)
    for axis in _AXES:
        if axis in changes:
            plan = read_choice(axis, changes[axis], Known((), (), ())).change(plan)
    table = patched(plan.model, {k: v for k, v in changes.items() if k not in _AXES}, f"truth '{label}'")
    spec = model_from_table(table | {"parameters": used_parameters(table)})
    sources = [component.name for component in spec.populations]
    if sources:
        raise InputError(
            f"truth '{label}': expected smooth emission only, got point sources ({', '.join(sources)}); remove them"
        )
    model = SkyModel(spec, data)
    theta = model.parameters(jnp.asarray(laplace(model, skies.seed, _STARTS).mode))
    truth = {name: np.asarray(value).tolist() for name, value in theta.items()}
    simulator = PhotonSimulator(model)
    for counts in simulator.draw(theta, n=skies.number, seed=skies.seed):
        yield model, counts, truth


def used_parameters(table: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a component uses."""
    spec = model_from_table(table)
    used = {use.parameter for component in spec.components for use in component.uses()}
    return {name: prior for name, prior in table["parameters"].items() if name in used}


def _injected(skies: InjectedSkies, strength: float, n_skies: int, base: ModelSpec, data: Dataset) -> Drawn:
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
    for number in range(n_skies):
        # the stream of a strength is its own: equal seeds would add the same photons at every strength
        drawn = simulator.draw({"strength": jnp.asarray(strength)}, seed=stream(skies.seed, strength), first=number)
        yield model, np.where(observed < 0, observed, observed + drawn[0]), {"strength": strength}


def stream(seed: int, strength: float) -> int:
    """A seed for the skies of one strength."""
    return int(np.random.SeedSequence([seed, int(np.float64(strength).view(np.uint64))]).generate_state(1)[0])
