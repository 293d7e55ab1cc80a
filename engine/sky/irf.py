"""The King function from a Fermi-LAT instrument-response file (`psf_*_PSF.fits`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.sky.fits_files import fits_extension, open_fits
from gammasky.engine.sky.psf import IRFSettings, KingPSF
from gammasky.engine.sky.statements import column_in

# Fractions of the ULTRACLEANVETO photons in the eight bins of cos(theta) from 0.2 to 1, by PSF event type, as published
# with the King parameters that the inner-Galaxy analyses use (N. Rodd, PSF_king, 2015-2022; arXiv:1604.01026).
INCLINATION_FRACTIONS = {
    "PSF0": (0.0, 0.0036816313, 0.062240006, 0.14027030, 0.17077023, 0.18329804, 0.21722594, 0.22251374),
    "PSF1": (0.0, 0.00015569366, 0.010164870, 0.048955837, 0.11750811, 0.19840060, 0.29488095, 0.32993394),
    "PSF2": (0.0, 1.6070284e-05, 0.0048551576, 0.035358049, 0.091767466, 0.17568974, 0.29916159, 0.39315185),
    "PSF3": (0.0, 9.5028121e-07, 0.00094418357, 0.015514370, 0.069725775, 0.16437751, 0.30868705, 0.44075016),
}


def king_psf(content: bytes, label: str, settings: IRFSettings) -> KingPSF:
    """The King function at one energy, its parameters averaged over the inclination.

    fcore = 1 / (1 + NTAIL (STAIL / SCORE)^2) in every bin of the file; spe = sqrt((c0 (E / 100 MeV)^beta)^2 + c1^2).
    Each parameter is then averaged over the inclination bins and interpolated linearly in energy between the
    arithmetic bin centres: the convention of the published inner-Galaxy numbers.

    Args:
        content: the bytes of the file.
        label: how errors name it.
        settings: energy, event type and, in place of `INCLINATION_FRACTIONS`, one inclination or weights of the bins.

    Units are those that the columns say; energies without one are in MeV, as the mission's tools write them.

    Raises:
        InputError: not such a file, a unit that is none of the quantity, unknown event type, energy or inclination
            outside it, weights that do not fit.

    The commonly used 2 GeV PSF3 numbers (fcore 0.748988, score 0.428654, ..., spe 0.00456544) were made from an earlier
    response (P8R2 V6). From P8R3_ULTRACLEANVETO_V3 this function gives the same spe to 1e-11; fcore -0.4 %,
    score -0.03 %, gcore +1.0 %, stail -0.3 %, gtail -0.1 %. No non-negative weights reproduce them from that file.
    """
    with open_fits(content, label) as hdus:
        types = [hdu.name.removeprefix("RPSF_") for hdu in hdus if hdu.name.startswith("RPSF_")]
    if settings.event_type not in types:
        raise unknown_name(f"event type of {label}:", settings.event_type, types)
    table = fits_extension(content, label, f"RPSF_{settings.event_type}")
    scaling = fits_extension(content, label, f"PSF_SCALING_PARAMS_{settings.event_type}")
    c0, c1, beta = np.ravel(column_in(scaling, "PSFSCALE", "", label)[0])[:3].tolist()  # c0 and c1 in radians
    share = _inclination_weights(table, label, settings)
    grid = {name: column_in(table, name, "", label)[0] for name in ("NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL")}
    grid["FCORE"] = 1 / (1 + grid["NTAIL"] * (grid["STAIL"] / grid["SCORE"]) ** 2)
    energy_mev = 1e3 * settings.energy_gev
    low, high = (column_in(table, name, "MeV", label)[0] for name in ("ENERG_LO", "ENERG_HI"))
    centres = (low + high) / 2
    if not centres[0] <= energy_mev <= centres[-1]:
        raise InputError(
            f"{label}: energy {settings.energy_gev:g} GeV is outside {centres[0]:g} to {centres[-1]:g} MeV"
        )
    names_out = ("FCORE", "SCORE", "GCORE", "STAIL", "GTAIL")
    parameters = {name.lower(): float(np.interp(energy_mev, centres, share @ grid[name])) for name in names_out}
    parameters["spe"] = float(np.hypot(c0 * (energy_mev / 100) ** beta, c1))
    return KingPSF.model_validate(parameters)


def _inclination_weights(table: Any, label: str, settings: IRFSettings) -> np.ndarray:
    """The share of each inclination bin, summing to 1."""
    event_type, cos_theta, weights = settings.event_type, settings.cos_theta, settings.weights
    low, high = (column_in(table, name, "", label)[0] for name in ("CTHETA_LO", "CTHETA_HI"))
    if cos_theta is not None:
        inside = (low - 1e-6 <= cos_theta) & (cos_theta <= high + 1e-6)
        if not inside.any():
            raise InputError(f"{label}: cos_theta = {cos_theta:g} is outside {low[0]:g} to {high[-1]:g}")
        return np.eye(len(low))[np.flatnonzero(inside)[0]]
    if weights is None and event_type not in INCLINATION_FRACTIONS:
        raise InputError(
            f"{label}: no inclination fractions are known for '{event_type}'; give `weights` or `cos_theta`"
        )
    share = np.asarray(INCLINATION_FRACTIONS[event_type] if weights is None else weights, dtype=np.float64)
    if share.shape != low.shape or not np.isfinite(share).all() or (share < 0).any() or share.sum() <= 0:
        raise InputError(f"{label}: weights must be {len(low)} non-negative numbers, got {share.tolist()}")
    return share / share.sum()
