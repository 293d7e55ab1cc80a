"""Skies of a fitted null with signals of several strengths, each compared with the null as a test of it would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gammasky.analyses.ensemble.cost import climbing_seconds
from gammasky.analyses.ensemble.expansion import has_points
from gammasky.analyses.nested.run import SKIES, maxima_of_the_data
from gammasky.analyses.nested.statistics import PValue, p_value, require_enough
from gammasky.analyses.nested.study import NestedStudy
from gammasky.analyses.nested.task import CompareSky
from gammasky.analyses.sky_study import SkyTask, run_skies
from gammasky.analyses.studies.power import Power, power
from gammasky.analyses.studies.skies import stream
from gammasky.analyses.studies.study import Sensitivity
from gammasky.distributed.member import Desk, Result
from gammasky.distributed.runners.base import Runner
from gammasky.engine.errors import InputError
from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.maximum.ends import ends_of
from gammasky.engine.infer.maximum.null import Null, axes_of
from gammasky.engine.model import SkyModel
from gammasky.engine.model.values import Parameters

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SignalSky(SkyTask):
    """Compare sky `sky` of strength `strength`, as `CompareSky` does; skies of each strength are drawn on their own.

    Attributes:
        study: the test.
        truth (D,): coordinates of the fitted null.
        signals: points (D,) in the box that skies with a signal are drawn from, by strength; the null has none.
    """

    study: NestedStudy
    truth: tuple[float, ...]
    signals: Mapping[float, tuple[float, ...]]
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """What `CompareSky` gives."""
        strength = spec["strength"]
        study = replace(self.study, seed=stream(self.study.seed, strength))
        return CompareSky(study, self.truth, self.signals.get(strength), self._kept)({"sky": spec["sky"]}, desk)


@dataclass(frozen=True, eq=False)
class Found:
    """What a study of sensitivity has found.

    Attributes:
        parameter, unit: the number that strengths are values of.
        shape: what parameters that mean nothing under the null are in the signal.
        without: the null's own value; null (n,): test statistics of its skies.
        signals: test statistics of the skies of each strength.
        powers: one for each significance.
        data_ts, data_p: the test statistic of the data themselves, and their p-value.
        at_ends: which numbers of the fitted null lie at an end of their prior.
    """

    parameter: str
    unit: str
    shape: dict[str, Any]
    without: float
    null: Floats
    signals: dict[float, Floats]
    powers: list[Power]
    data_ts: float
    data_p: PValue
    at_ends: list[str]


def run_sensitivity(settings: Sensitivity, out: Path, runner: Runner, *, quiet: bool = False, **options: Any) -> Found:
    """Find how many skies of each strength are found, or go on in the folder `out`.

    Args:
        settings: what to do.
        out: receives the maxima on the data, and the skies.
        runner: where skies are fitted; results do not depend on it.
        quiet: nothing on stderr but warnings.
        options: `keep_going` and `allow_mixed`, as of `run_campaign`.

    Raises:
        InputError: a model, data set, null, strength or shape that cannot be used; too few skies of the null; another
            study in the folder; skies that failed.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    try:
        require_enough(settings.null_skies, float(norm.sf(max(settings.sigmas))))
    except InputError as error:
        raise InputError(str(error).replace("`skies", "`null_skies")) from None
    same = {name: getattr(settings, name) for name in ("model", "data", "data_dir", "simulator", "seed")}
    study = NestedStudy(**same, skies=settings.null_skies, null=(settings.null,))
    model, null = study.opened()
    name, without = _fixed_number(null)
    points = _signals(settings, model, null, name, without)
    data = maxima_of_the_data(study, model, null, out, quiet=quiet).ratio
    truth, axes = tuple(data.null.y.tolist()), [*axes_of(model.latent.slots[name]), *null.loose_axes]
    places = {}
    for strength, point in points.items():
        place = data.null.x.copy()
        place[axes] = model.latent.to_box(point)[axes]
        places[strength] = tuple(place.tolist())
    shape = {one: np.asarray(points[settings.strengths[0]][one]).tolist() for one in null.loose}
    specs = [{"strength": without, "sky": sky} for sky in range(settings.null_skies)]
    specs += [{"strength": strength, "sky": sky} for strength in points for sky in range(settings.skies)]
    skies = run_skies(
        out / SKIES, SignalSky(study.absolute(), truth, places), specs, runner,
        cost=climbing_seconds(2 * BATCH, model.pixels, points=has_points(model.spec)),
        manifest={**study.about(model, null), "truth": list(truth), "shape": shape}, quiet=quiet, **options,
    )  # fmt: skip
    ts = np.array([float(sky.row["ts"]) for sky in skies])
    of_null, *of_signals = np.split(ts, settings.null_skies + settings.skies * np.arange(len(points)))
    signals = dict(zip(points, of_signals, strict=True))
    powers = [power(of_null, signals, sigma, without) for sigma in settings.sigmas]
    unit = model.spec.parameters[name].unit
    ends = [one for one in ends_of(model, null.plane, data.null) if one.partition("[")[0] not in null.loose]
    return Found(name, unit, shape, without, of_null, signals, powers, data.ts, p_value(data.ts, of_null), ends)


def _fixed_number(null: Null) -> tuple[str, float]:
    """The one number that a null fixes, and its value.

    Raises:
        InputError: it fixes something else, too, or ties parameters.
    """
    values = list(null.fixed.values())
    if null.tied or len(values) != 1 or np.ndim(values[0]):
        raise InputError(
            f"null '{', '.join(null.texts)}': expected one number that is set to a value, such as 'S_gce = 0', whose "
            "other values are the strengths"
        )
    return next(iter(null.fixed)), float(values[0])


def _signals(settings: Sensitivity, model: SkyModel, null: Null, name: str, without: float) -> dict[float, Parameters]:
    """The parameters with a signal of each strength; all that the null has, too, are at the medians of their priors.

    Raises:
        InputError: a strength or a shape that cannot be.
    """
    if settings.strengths[0] <= without:
        raise InputError(
            f"strengths: expected values of '{name}' above {without:g}, its value under the null, got "
            f"{settings.strengths[0]:g}"
        )
    for one in settings.shape:
        if one in model.latent.slots and one not in null.loose:
            free = ", ".join(null.loose) or "of which this null has none"
            raise InputError(
                f"shape: '{one}' has a meaning under the null, which is fitted to the data; expected parameters of the "
                f"signal alone, {free}"
            )
    medians = model.parameters(jnp.zeros(model.n_latent))
    points = {}
    for strength in settings.strengths:
        points[strength] = model.point({**medians, **settings.shape, name: strength})
        model.require_inside_priors(points[strength])
    return points
