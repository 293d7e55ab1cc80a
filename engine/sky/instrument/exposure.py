"""Exposure, area times livetime, of every direction at chosen energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gammasky.engine.sky.instrument.effective_area import EffectiveArea
from gammasky.engine.sky.instrument.livetime import Livetime
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.products.exposure import ExposureCube


def exposure_cube(
    live: Livetime, areas: Sequence[EffectiveArea], energies_gev: Sequence[float] | np.ndarray
) -> ExposureCube:
    """Exposure of every pixel of a livetime at energies (N,) [GeV]; its `in_bins` weighs the energies of bins.

    sum over event types and bins of inclination of A(E, theta) (a(E) T + b(E) T'), with T the livetime, T' the livetime
    times its fraction of the time, and A times its azimuthal factor where azimuths were kept apart.

    Raises:
        InputError: an energy outside of a response.
    """
    energies = np.asarray(energies_gev, dtype=np.float64)
    result = np.zeros((len(energies), len(live.seconds)))
    total = live.seconds.sum(axis=2)
    fraction = np.where(total > 0, live.weighted / np.where(total > 0, total, 1.0), 0.0)
    for number, energy in enumerate(1e3 * energies):
        for area in areas:
            a, b = area.livetime_factors(float(energy))
            effective = _over_azimuth(live, area, float(energy), total) * (a + b * fraction)
            result[number] += (area.at(float(energy), live.cos_theta) * effective).sum(axis=1)
    label = "exposure of " + "; ".join(area.label for area in areas)
    return ExposureCube(label, HealpixPixels(live.nside, live.frame), energies, result, "that of the livetime")


def inclination_profile(live: Livetime, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Livetime by inclination, averaged over pixels.

    Args:
        live: the livetime.
        pixels: numbers of the pixels, or True where one counts; None: the whole sky.

    Returns:
        seconds (B,), seconds times their fraction of the time (B,), and mean cosine of the inclination (B,).
    """
    chosen = slice(None) if pixels is None else pixels
    seconds = live.seconds[chosen].sum(axis=2)
    mean = seconds.mean(axis=0)
    moment = (seconds * live.cos_theta[chosen]).mean(axis=0)
    cos_theta = np.where(mean > 0, moment / np.where(mean > 0, mean, 1.0), live.cos_theta.mean(axis=0))
    return mean, live.weighted[chosen].mean(axis=0), cos_theta


def _over_azimuth(live: Livetime, area: EffectiveArea, energy_mev: float, total: np.ndarray) -> np.ndarray:
    """Seconds (npix, B), each bin of the azimuth times its factor of the area."""
    if live.seconds.shape[2] == 1:
        return total
    factors = area.azimuth_factors(energy_mev, live.cos_theta.ravel(), live.xi_edges)
    return np.asarray((live.seconds * factors.reshape(live.seconds.shape)).sum(axis=2))
