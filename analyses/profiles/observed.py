"""The profile on the observed sky, and the values that simulated skies are drawn at, which a folder keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.distributed.manifest import difference
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.maximum.climbs import Maximum
from gammasky.engine.infer.maximum.profile import DEEP, Profile, held_at, profile, whole_plane
from gammasky.engine.infer.maximum.quantity import Quantity
from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
OBSERVED = "observed.json"
GRID = 9  # values that skies are drawn at


@dataclass(frozen=True, eq=False)
class Observed:
    """A profile, and values (k,) between its ends with the places y (k, D) of their maxima and statistics (k,)."""

    profile: Profile
    values: Floats
    places: Floats
    ts: Floats


def known(study: ProfileStudy, model: SkyModel, quantity: Quantity, folder: Path) -> Observed | None:
    """What the folder holds, if it holds any.

    Raises:
        InputError: the folder holds another profile, or its file is damaged.
    """
    path, about = folder / OBSERVED, json.loads(json.dumps(study.about(model)))
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = content["identity"]
        arrays = {name: np.array(content[name]) for name in ("values", "log_likelihood", "y", "grid", "places", "ts")}
        best = Maximum(**{**content["best"], "x": np.array(content["best"]["x"]), "y": np.array(content["best"]["y"])})
        value = float(content["value"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; remove it, or choose another folder") from None
    if before != about:
        raise InputError(f"`out` {folder}: holds another profile: {difference(before, about)}; choose another folder")
    plane = whole_plane(model, quantity)
    found = Profile(quantity, plane, best, value, arrays["values"], arrays["log_likelihood"], arrays["y"])
    return Observed(found, arrays["grid"], arrays["places"], arrays["ts"])


def climbed(study: ProfileStudy, model: SkyModel, quantity: Quantity, folder: Path) -> Observed:
    """Find the profile, and keep it in the folder.

    Raises:
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
    """
    found = profile(model, quantity, study.seed, study.points)
    values = _grid(found)
    if quantity.axis is None:
        values, heights, places = np.zeros(0), np.zeros(0), np.zeros((0, model.n_latent))
    else:
        heights, places = held_at(model, found, values.tolist())
    ts = np.maximum(2.0 * (found.best.log_likelihood - heights), 0.0)
    best: dict[str, Any] = {**vars(found.best), "x": found.best.x.tolist(), "y": found.best.y.tolist()}
    content = {
        "identity": study.about(model),
        "best": best,
        "value": found.value,
        "values": found.values.tolist(),
        "log_likelihood": found.log_likelihood.tolist(),
        "y": found.y.tolist(),
        "grid": values.tolist(),
        "places": places.tolist(),
        "ts": ts.tolist(),
    }
    write_text(folder / OBSERVED, json.dumps(content) + "\n")
    return Observed(found, values, places, ts)


def _grid(found: Profile) -> Floats:
    """GRID values between the ends of the profile; the first is 0 for a norm, whose absence they are compared with."""
    deep = found.values[found.below < DEEP]
    low = found.quantity.low if found.quantity.scale else float(deep.min())
    return np.linspace(low, float(deep.max()), GRID)
