"""The profile on the observed sky, and the values that simulated skies are drawn at, which a folder keeps.

What limits compare with simulated skies is found by the climbs that every simulated sky has, of which some begin at
what the sky is drawn from: the profile has many more, and a maximum that only they find would make the observed
statistics too large, and so intervals too narrow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.analyses.profiles.task import scanned
from gammasky.distributed.manifest import difference
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.maximum.climbs import Maximum
from gammasky.engine.infer.maximum.null import axes_of, without_meaning
from gammasky.engine.infer.maximum.profile import DEEP, Profile, held_at, profile, whole_plane
from gammasky.engine.infer.maximum.quantity import Quantity
from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
OBSERVED = "observed.json"
GRID = 9  # values that skies are drawn at
_ANEW = 4  # stream of random numbers, beside those of `scan`


@dataclass(frozen=True, eq=False)
class Statistics:
    """The observed statistics, by the climbs that every simulated sky has.

    Attributes:
        ts (k,): of each value; best (k,): where the likelihood was found to be highest.
        higher: log-likelihood [nat] that the climbs of the profile have found beyond these, for the value where most.
    """

    ts: Floats
    best: Floats
    higher: float


@dataclass(frozen=True, eq=False)
class Observed:
    """What is known of the observed sky.

    Attributes:
        profile: the profile.
        values (k,): of the number, at which skies are drawn; places y (k, D): of the maximum at each.
        statistics: what simulated skies are compared with, once there are any.
    """

    profile: Profile
    values: Floats
    places: Floats
    statistics: Statistics | None = None


def known(study: ProfileStudy, model: SkyModel, quantity: Quantity, folder: Path) -> Observed | None:
    """What the folder holds, if it holds any.

    Raises:
        InputError: the folder holds another profile, or its file is damaged.
    """
    path, about = folder / OBSERVED, json.loads(json.dumps(study.about(model)))
    if not path.is_file():
        return None
    damaged = InputError(f"{path}: damaged; remove it, or choose another folder")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = content["identity"]
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    if before != about:
        raise InputError(f"`out` {folder}: holds another profile: {difference(before, about)}; choose another folder")
    try:
        return _read(content, model, quantity)
    except (ValueError, KeyError, TypeError):
        raise damaged from None


def climbed(study: ProfileStudy, model: SkyModel, quantity: Quantity, folder: Path) -> Observed:
    """Find the profile, and keep it in the folder.

    Raises:
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
    """
    found, slots = profile(model, quantity, study.seed, study.points), model.latent.slots
    values, places = np.zeros(0), np.zeros((0, model.n_latent))
    if quantity.axis is not None:
        values = grid_of(found)
        _, places = held_at(model, found, values.tolist())
    if quantity.scale:  # parameters of what is not there would keep the values that fit this sky best, and no other
        loose = [axis for name in without_meaning(model.spec, {quantity.name: 0.0}) for axis in axes_of(slots[name])]
        places[0, loose] = found.plane.random(1, (study.seed, _ANEW))[0, loose]
    observed = Observed(found, values, places)
    _write(observed, study.about(model), folder)
    return observed


def compared(study: ProfileStudy, model: SkyModel, observed: Observed, folder: Path) -> Observed:
    """Find the statistics that simulated skies are compared with, and keep them, too.

    Each value is scanned alone, as skies of it are. (Those of the first are scanned at all values, but the places of
    the others are where this sky fits best, and would help this one alone.)

    Raises:
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
    """
    found = observed.profile
    scans = [
        scanned(model, found.quantity, [value], [place], study.seed)
        for value, place in zip(observed.values.tolist(), observed.places, strict=True)
    ]
    lowest = min(scan.log_likelihood for scan, _ in scans)
    ts, best = np.array([scan.ts[0] for scan, _ in scans]), np.array([value for _, value in scans])
    observed = replace(observed, statistics=Statistics(ts, best, max(found.best.log_likelihood - lowest, 0.0)))
    _write(observed, study.about(model), folder)
    return observed


def grid_of(found: Profile) -> Floats:
    """GRID values between the ends of the profile, at equal steps of its signed root.

    The first is 0 for a norm, whose absence others are compared with, however far it is from the rest.
    """
    ends = found.interval(float(chi2.cdf(2.0 * DEEP, 1)))
    low, high = (end if end is not None else found.values[side] for side, end in zip((0, -1), ends, strict=True))
    alone = found.quantity.scale and low > found.quantity.low
    inner = found.values[(found.values > low) & (found.values < high)]
    points = np.unique(np.concatenate([[low], inner, [high]]))
    steps = abs(np.diff(np.sign(points - found.value) * np.sqrt(found.ts(points))))
    # a profile may rise again, and where it is flat the values themselves are spread
    along = np.append(0.0, np.cumsum(steps + 1e-6 * np.diff(points) / (high - low)))
    values = np.interp(np.linspace(0.0, along[-1], GRID - alone), along, points)
    return np.append(found.quantity.low, values) if alone else values


def _write(observed: Observed, about: Mapping[str, Any], folder: Path) -> None:
    found, statistics = observed.profile, observed.statistics
    content = {
        "identity": about,
        "best": {**vars(found.best), "x": found.best.x.tolist(), "y": found.best.y.tolist()},
        "value": found.value,
        "values": found.values.tolist(),
        "log_likelihood": found.log_likelihood.tolist(),
        "y": found.y.tolist(),
        "grid": observed.values.tolist(),
        "places": observed.places.tolist(),
        "statistics": None
        if statistics is None
        else {"ts": statistics.ts.tolist(), "best": statistics.best.tolist(), "higher": statistics.higher},
    }
    write_text(folder / OBSERVED, json.dumps(content) + "\n")


def _read(content: Mapping[str, Any], model: SkyModel, quantity: Quantity) -> Observed:
    """What a file says.

    Raises:
        ValueError, KeyError, TypeError: it is damaged.
    """
    arrays = {name: np.array(content[name]) for name in ("values", "log_likelihood", "y", "grid", "places")}
    best = Maximum(**{**content["best"], "x": np.array(content["best"]["x"]), "y": np.array(content["best"]["y"])})
    plane, of = whole_plane(model, quantity), content["statistics"]
    found = Profile(quantity, plane, best, float(content["value"]), arrays["values"], arrays["log_likelihood"],
                    arrays["y"])  # fmt: skip
    statistics = None
    if of is not None:
        statistics = Statistics(np.array(of["ts"]), np.array(of["best"]), float(of["higher"]))
    return Observed(found, arrays["grid"], arrays["places"], statistics)
