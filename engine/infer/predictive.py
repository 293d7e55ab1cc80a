"""Posterior predictive checks: does the fitted model make skies like the one that was seen?

Replicated skies come from draws of the posterior, photon by photon. Two statistics are compared in bands of radius and
of latitude, and in each of several energy bins: the counts, and their dispersion sum (k - mu)^2 / mu about the model's
own expectation mu(theta), which sources that are too bright or too few would change (Gelman, Meng & Stern 1996,
Statistica Sinica 6, 733). The same skies say how improbable the counts are anywhere: see `residuals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import expected_counts
from gammasky.engine.infer.draws import picked
from gammasky.engine.infer.residuals import Discs, PsMap
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.roi import angular_distance_deg

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

N_REPLICAS = 200
RADIAL_BANDS, LATITUDE_BANDS = 5, 3  # the latter in each hemisphere


@dataclass(frozen=True, eq=False)
class Band:
    """Pixels between two values of a coordinate, and how their counts compare with the replicas.

    Attributes:
        coordinate: "radius" (to the centre of the region), "latitude" or "energy".
        low, high [deg, or GeV]: limits.
        inside (P,): which fitted pixels lie in it.
        counts, expected: photons seen there, and their mean over the replicas.
        p_counts: two-sided p-value of the counts; p_dispersion: probability of a dispersion as large as that seen.
    """

    coordinate: str
    low: float
    high: float
    inside: NDArray[np.bool_]
    counts: int
    expected: float
    p_counts: float
    p_dispersion: float

    def as_dict(self) -> dict[str, Any]:
        """The check as plain values, without those of each pixel."""
        return {name: value for name, value in vars(self).items() if name != "inside"}


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Replicated skies beside the one that was seen.

    Attributes:
        counts (P,): the counts that were seen; replicas (n, P): replicated counts.
        bands: the whole region first, then bands of radius and of latitude.
        expected (P,): mean counts under the model, over the draws that the replicas are of.
        ps_map: how improbable the counts in discs are.
        unknown_around: pixels around the region whose sources may reach into it, and are not among the replicated ones,
            since the data do not say their exposure or a template.
        p_together: probability that the counts of a pixel in different energy bins rise and fall together as much as
            those seen, which sources make them do; None with one energy bin.
    """

    counts: Integers
    replicas: Integers
    bands: tuple[Band, ...]
    expected: Floats
    ps_map: PsMap
    unknown_around: int = 0
    p_together: float | None = None

    @property
    def residual(self) -> Floats:
        """(P,) counts minus the mean of the replicas, over their standard deviation; NaN where they do not vary."""
        spread = self.replicas.std(axis=0)
        return np.where(spread > 0, self.counts - self.replicas.mean(axis=0), np.nan) / np.where(spread > 0, spread, 1)

    def histogram(self) -> tuple[Integers, Integers, Integers]:
        """Counts k (K,), the number of pixels with k photons (K,), and the same in each replica (n, K)."""
        top = int(max(self.counts.max(), self.replicas.max())) + 1
        replicas = np.stack([np.bincount(replica, minlength=top) for replica in self.replicas])
        return np.arange(top), np.bincount(self.counts, minlength=top), replicas

    def as_dict(self) -> dict[str, Any]:
        """The numbers of the checks as plain values, for a summary."""
        bands = [band.as_dict() for band in self.bands]
        return {
            "replicas": len(self.replicas),
            "unknown_around": self.unknown_around,
            "bands": bands,
            "ps_map": self.ps_map.as_dict(),
            **({} if self.p_together is None else {"p_together": self.p_together}),
        }


def predictive_check(model: SkyModel, z: Floats, *, n: int = N_REPLICAS, seed: int = 0) -> PredictiveCheck:
    """Replicate the sky at `n` of the draws z (draws, D) and compare.

    Raises:
        InputError: fewer than 20 replicas, or no draws.
    """
    if n < 20 or not len(z):
        raise InputError(f"predictive check: expected at least 20 replicas and one draw, got {n} and {len(z)}")
    chosen = z[picked(len(z), n, seed)]
    program = model.program("parameters", lambda: jax.jit(jax.vmap(model.parameters, in_axes=(0, None))))
    points = program(jnp.asarray(chosen), model.arrays)
    simulator, n_fit = PhotonSimulator(model), model.pixels.n_fit
    replicas = np.empty((n, n_fit), dtype=np.int64)
    for number in range(n):
        point = {name: values[number] for name, values in points.items()}
        replicas[number] = simulator.draw(point, seed=seed, first=number)[0, :n_fit]
    expected = expected_counts(model, chosen)
    counts = model.pixels.counts
    bands = [_band(*limits, counts, replicas, expected) for limits in _limits(model)]
    mean = expected.mean(axis=0)
    ps_map = PsMap.of(Discs.of(model.pixels), counts, replicas, mean)
    n_bins, together = model.pixels.n_energy, None
    if n_bins > 1:
        seen, replicated = (_together(k, expected, n_bins) for k in (counts, replicas))
        together = _tail(replicated - seen, 0.0)
    return PredictiveCheck(counts, replicas, tuple(bands), mean, ps_map, simulator.pixels.unknown_around, together)


def _limits(model: SkyModel) -> list[tuple[str, float, float, NDArray[np.bool_]]]:
    """Coordinate, limits and pixels of each band: of equal width, north and south apart."""
    pixels, region = model.pixels, model.spec.region
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    radius, all_pixels = angular_distance_deg(lon, lat, region.center_lon, region.center_lat), np.ones(len(lat), bool)
    bands = [("radius", float(radius.min()), float(radius.max()), all_pixels)]
    for name, values, among, number in (
        ("radius", radius, all_pixels, RADIAL_BANDS),
        ("latitude", lat, lat < 0, LATITUDE_BANDS),
        ("latitude", lat, lat >= 0, LATITUDE_BANDS),
    ):
        if among.any():
            edges = np.linspace(values[among].min(), values[among].max(), number + 1)
            place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, number - 1)
            bands += [(name, float(edges[i]), float(edges[i + 1]), among & (place == i)) for i in range(number)]
    if pixels.n_energy > 1:
        of_bin = pixels.energy_bin[: pixels.n_fit]
        bands += [("energy", low, high, of_bin == e) for e, (low, high) in enumerate(pairwise(pixels.energy_edges_gev))]
    return [band for band in bands if band[3].any()]


def _band(
    coordinate: str, low: float, high: float, inside: NDArray[np.bool_], counts: Integers, replicas: Integers,
    expected: Floats,
) -> Band:  # fmt: skip
    seen, replicated = counts[inside].sum(), replicas[:, inside].sum(axis=1)
    above = _tail(replicated, seen)
    dispersion, of_replicas = (_dispersion(k[..., inside], expected[:, inside]) for k in (counts, replicas))
    return Band(
        coordinate, low, high, inside, int(seen), float(replicated.mean()),
        p_counts=min(1.0, 2.0 * min(above, 1.0 - above)),
        p_dispersion=_tail(of_replicas - dispersion, 0.0),
    )  # fmt: skip


def _dispersion(counts: Integers, expected: Floats) -> Floats:
    """sum (k - mu)^2 / mu of each row of mu; pixels that the model leaves dark add nothing."""
    terms = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(expected), where=~(expected <= 0))
    return terms.sum(axis=1)


def _together(counts: Integers, expected: Floats, n_bins: int) -> Floats:
    """Sum over pixels of the sky and pairs of energy bins of r_e r_e', r = (k - mu) / sqrt(mu), for each row of mu."""
    scale = np.sqrt(np.where(expected > 0, expected, np.inf))
    r = ((counts - expected) / scale).reshape(len(expected), n_bins, -1)
    return np.asarray(0.5 * (r.sum(axis=1) ** 2 - (r**2).sum(axis=1)).sum(axis=1))


def _tail(values: NDArray[Any], at: Any) -> float:
    """Probability of a value above `at`, ties counted half; never 0 or 1, which n values cannot show. NaN where a value
    is not a number."""
    if np.isnan(values).any():
        return np.nan
    larger = (values > at).sum() + 0.5 * (values == at).sum()
    return float((larger + 0.5) / (len(values) + 1.0))
