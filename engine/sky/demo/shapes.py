"""The demo's emission: gas and inverse-Compton disks, bubbles, boxy bulges, and the exposure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gammasky.engine.sky import maps
from gammasky.engine.sky.demo.lines import Density, line_of_sight_map
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.psf import PSF

FINER = 2  # maps are made at this multiple of nside, smoothed, and averaged
EXPOSURE_CM2_S = 2e10  # mean of the map: about a fifth of ten years of the Fermi-LAT's best-PSF quartile
BIN_EXPOSURES = (0.9, 1.0, 1.05, 1.05)  # of the four energy bins, relative to that
EXPOSURE_RANGE = 0.08
EXPOSURE_POLE = (90.0, 27.0)  # (l, b) [deg] towards which exposure rises; the steepest rise passes the Galactic Centre

#: name: scale height, scale length, radius of the central hole [kpc]
GAS_DISKS = {"Opi": (0.10, 4.0, 0.0), "Api": (0.20, 6.0, 0.0), "Fpi": (0.14, 3.0, 4.0)}
#: name: scale height, scale length [kpc]
COMPTON_DISKS = {"Oic": (0.5, 4.0), "Aic": (0.8, 4.0), "Fic": (1.3, 4.0)}
#: name: half-axes along the bar, across it and in height [kpc], and its angle to the line Sun - centre [deg]
BULGES = {
    "macias2019": (1.70, 0.70, 0.50, 20.0),
    "coleman2019": (1.30, 0.75, 0.70, 27.0),
    "f98": (1.70, 0.64, 0.44, 14.0),
}
#: half-axes [deg] and width of the edge in units of them; the lobes are centred at l = 0 and +-b
BUBBLES = {"longitude": 19.0, "latitude": 25.0, "centre": 26.0, "edge": 0.06}


def relative_exposure(nside: int) -> np.ndarray:
    """Exposure over its mean (npix,): a smooth step of +-8 % across the sky, steepest along a great circle."""
    lon, lat = (np.deg2rad(angle) for angle in HealpixPixels(nside).galactic)
    pole_lon, pole_lat = np.deg2rad(EXPOSURE_POLE)
    cosine = np.sin(lat) * np.sin(pole_lat) + np.cos(lat) * np.cos(pole_lat) * np.cos(lon - pole_lon)
    values = 1.0 + EXPOSURE_RANGE * np.tanh(cosine / 0.4)
    return values / values.mean()


def gas_disk(height: float, length: float, hole: float) -> Density:
    """exp(-R / length) sech^2(z / (2 height)), times 1 - 0.8 exp(-(R / hole)^2) with a hole; [kpc]."""

    def density(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        radius = np.hypot(x, y)
        empty = 0.8 * np.exp(-((radius / hole) ** 2)) if hole else 0.0
        return np.exp(-radius / length) * _sech2(z / (2 * height)) * (1.0 - empty)

    return density


def bar(along: float, across: float, height: float, angle_deg: float) -> Density:
    """sech^2(r), r^4 = ((x'/along)^2 + (y'/across)^2)^2 + (z/height)^4: boxy seen from the side; [kpc].

    The near end of the bar is at positive longitudes.

    Source: the form of Freudenreich 1998 (astro-ph/9707340), eqs. 13-14, with our own numbers.
    """
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))

    def density(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        in_plane = ((x * cosine + y * sine) / along) ** 2 + ((y * cosine - x * sine) / across) ** 2
        return _sech2(np.sqrt(np.sqrt(in_plane**2 + (z / height) ** 4)))

    return density


def bubbles(nside: int) -> np.ndarray:
    """Two flat elliptical lobes (npix,), 1 inside and falling to 0 over a smooth edge."""
    lon, lat = HealpixPixels(nside).galactic
    across = lon * np.cos(np.deg2rad(lat)) / BUBBLES["longitude"]
    return sum(
        1.0 / (1.0 + np.exp((np.hypot(across, (lat - centre) / BUBBLES["latitude"]) - 1.0) / BUBBLES["edge"]))
        for centre in (BUBBLES["centre"], -BUBBLES["centre"])
    )


def diffuse_maps(nside: int, psf: PSF) -> dict[str, np.ndarray]:
    """Intensity (npix,) of gas, inverse Compton, isotropic emission and bubbles, as seen through the PSF."""
    smooth = _smoothing(FINER * nside, psf)
    found = {}
    for name, numbers in GAS_DISKS.items():
        found[name] = smooth(line_of_sight_map(gas_disk(*numbers), FINER * nside))
    for name, (height, length) in COMPTON_DISKS.items():
        found[name] = smooth(line_of_sight_map(gas_disk(height, length, 0.0), FINER * nside))
    found["bub"] = bubbles(FINER * nside)  # its edges are much wider than the PSF
    found = {name: averaged(values, nside) for name, values in found.items()}
    found["iso"] = np.ones(12 * nside**2)
    return found


def bulge_maps(nside: int) -> dict[str, np.ndarray]:
    """Intensity (npix,) of the boxy bulges, without the PSF: point sources are drawn from them too."""
    return {
        name: averaged(line_of_sight_map(bar(*numbers), FINER * nside, axisymmetric=False), nside)
        for name, numbers in BULGES.items()
    }


def averaged(values: np.ndarray, nside: int) -> np.ndarray:
    """A finer RING map (npix,) averaged over the pixels of `nside`."""
    return maps.change_nside(values[None], nside, np.mean)[0]


def _smoothing(nside: int, psf: PSF) -> Callable[[np.ndarray], np.ndarray]:
    """Convolution of maps of `nside` with the PSF: its beam is B_l = <P_l(cos r)> over photons at radius r."""
    import healpy
    from scipy.special import eval_legendre

    l_max, share = 3 * nside - 1, (np.arange(1024) + 0.5) / 1024
    beam = eval_legendre(np.arange(l_max + 1)[:, None], np.cos(psf.radius(share))).mean(axis=1)
    return lambda values: healpy.smoothing(values, beam_window=beam, lmax=l_max, iter=1)


def _sech2(x: np.ndarray) -> np.ndarray:
    """sech^2(x), which far out underflows to 0 rather than overflows."""
    small = np.exp(-2.0 * np.abs(x))
    return 4.0 * small / (1.0 + small) ** 2
