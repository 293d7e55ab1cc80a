"""rho(f): how many pixels receive the fraction f of a source's photons.

A source puts the fractions f_1, f_2, ... of its photons in the pixels around it; rho(f) df is the mean number of
pixels with a fraction in df, for sources anywhere, and int f rho(f) df = 1 (Malyshev & Hogg, arXiv:1104.0010).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.pixels import Pixels, ProjectedPixels
from gammasky.engine.sky.pixels.frames import lonlat_of, vectors_of
from gammasky.engine.sky.psf import PSF, DeltaPSF

SMALLEST_EDGE = 1e-4
CHUNK = 256  # sources at a time
STRATA_LEVELS, CELL_LEVELS = 5, 6  # sub-divisions of a pixel: stratified, then random
WINDOW = 500  # pixels of a projected grid to either side of a source
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))

_Thrower = Callable[[np.random.Generator, int, int, np.ndarray, np.ndarray], tuple[np.ndarray, int]]


@dataclass(frozen=True, eq=False)
class PixelFractions:
    """rho(f) in bins of f.

    Args:
        fraction (F,): mean fraction of the pixels in each bin, rising.
        weight (F,): mean number of pixels per source in each bin; sum(weight * fraction) = 1.
    """

    fraction: np.ndarray
    weight: np.ndarray


def pixel_fractions(
    psf: PSF,
    pixels: int | Pixels,
    *,
    n_positions: int | None = None,
    n_photons: int = 2_000,
    bins: int = 200,
    seed: int = 0,
    cache: bool = True,
    cache_dir: Path | None = None,
) -> PixelFractions:
    """Monte Carlo over source positions, with photons on a low-discrepancy set around each.

    Args:
        psf: point-spread function.
        pixels: HEALPix pixels, or their nside (those of one nside are alike wherever their poles are); or a projected
            grid, as if it went on beyond its edges: the mean is over sources anywhere in it.
        n_positions: sources, uniform on the sphere; a multiple of 1024 fills every stratum of the pixel alike. By
            default 40,960, and 4,096 on a grid, whose pixels are all of one shape.
        n_photons: photons of each, with weights that let the tail be as well sampled as the core.
        bins: bins of f, logarithmic from 1e-4 to 1 (and one below); empty ones are left out.
        seed: of the source positions and of the angles.
        cache: keep the result in the per-user cache.
        cache_dir: another folder for it.

    Returns:
        fractions and their weights; for `DeltaPSF` the single fraction 1.

    Raises:
        InputError: a setting out of range.
    """
    if isinstance(psf, DeltaPSF):
        return PixelFractions(np.ones(1), np.ones(1))
    if n_positions is None:
        n_positions = 4_096 if isinstance(pixels, ProjectedPixels) else 40_960
    if isinstance(pixels, ProjectedPixels):
        thrown: _Thrower = partial(projected_photons, pixels)
        key: int | str = pixels.key
        _check(n_positions=n_positions, n_photons=n_photons, bins=bins)
    else:
        nside = pixels if isinstance(pixels, int) else pixels.nside
        thrown, key = partial(_healpix_photons, nside), nside
        _check(nside=nside, n_positions=n_positions, n_photons=n_photons, bins=bins)
    settings = {"n_positions": n_positions, "n_photons": n_photons, "bins": bins, "seed": seed}
    if not cache:
        return _simulate(psf, thrown, **settings)
    found = remembered(
        "pixel_fractions",
        {"pixels": key, "psf": psf.model_dump(), **settings},
        lambda: vars(_simulate(psf, thrown, **settings)),
        folder=cache_dir,
        sound=_is_sound,
    )
    return PixelFractions(found["fraction"], found["weight"])


def _is_sound(arrays: dict[str, np.ndarray]) -> bool:
    """Whether arrays from the cache are pixel fractions."""
    if set(arrays) != {"fraction", "weight"} or arrays["fraction"].shape != arrays["weight"].shape:
        return False
    return bool(np.isclose(np.sum(arrays["weight"] * arrays["fraction"]), 1.0, rtol=1e-9))


def _check(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1 or (name == "nside" and value & (value - 1)):
            expected = "a power of 2" if name == "nside" else "at least 1"
            raise InputError(f"pixel fractions: {name} must be {expected}, got {value}")


def _simulate(psf: PSF, thrown: _Thrower, n_positions: int, n_photons: int, bins: int, seed: int) -> PixelFractions:
    """Throw photons of sources about and count the fractions that fall in each pixel."""
    from gammasky.engine.sky.tally import tally_sources

    generator = np.random.default_rng(seed)
    radius, angle, weight = photon_set(psf, n_photons)
    edges = np.concatenate([[0.0], np.geomspace(SMALLEST_EDGE, 1.0, bins)])
    scratch, number, total = np.zeros(0), np.zeros(bins), np.zeros(bins)
    for start in range(0, n_positions, CHUNK):
        size = min(CHUNK, n_positions - start)
        pixel, n_pixels = thrown(generator, start, size, radius, angle)
        scratch = scratch if len(scratch) == n_pixels else np.zeros(n_pixels)
        tally_sources(pixel, weight, edges, scratch, number, total)
    filled = number > 0
    # the photons of a source add up to 1 but for rounding; divide that out
    return PixelFractions(total[filled] / number[filled], number[filled] / total.sum())


def _healpix_photons(
    nside: int, generator: np.random.Generator, first: int, size: int, radius: np.ndarray, angle: np.ndarray
) -> tuple[np.ndarray, int]:
    """Pixels (size, photons) of the photons of sources, and how many pixels there are."""
    import healpy

    from gammasky.engine.kernels.callbacks import on_arrays

    centre = _source_directions(generator, nside, first, size)
    turn = generator.uniform(0.0, 2 * np.pi, size)
    x, y, z = on_arrays(displaced, centre, radius, angle + turn[:, None])
    return healpy.vec2pix(nside, x, y, z), 12 * nside**2


def projected_photons(
    pixels: ProjectedPixels,
    generator: np.random.Generator,
    first: int,
    size: int,
    radius: np.ndarray,
    angle: np.ndarray,
) -> tuple[np.ndarray, int]:
    """The same of a projected grid: numbers in a window of pixels around the source, the last of which take the rest.

    Source i lies in a pixel that is drawn by solid angle, in sub-pixel i modulo 2^5 x 2^5, at random in that.
    """
    area = np.nan_to_num(pixels.solid_angle_sr)
    parent = generator.choice(pixels.n_pixels, size=size, p=area / area.sum())
    row, column = np.divmod(parent, pixels.shape[1])
    stratum = np.array(np.divmod((first + np.arange(size)) % 4**STRATA_LEVELS, 2**STRATA_LEVELS))
    y, x = (stratum + generator.uniform(size=(2, size))) / 2**STRATA_LEVELS - 0.5
    centre = vectors_of(*pixels.at(column + x, row + y))
    turn = generator.uniform(0.0, 2 * np.pi, size)
    lon, lat = lonlat_of(np.stack(displaced(np, centre, radius, angle + turn[:, None]), axis=-1))
    across, up = pixels.steps(lon, lat, column[:, None], row[:, None])
    inside = [np.where(np.isfinite(step), np.clip(step, -WINDOW, WINDOW), WINDOW) for step in (across, up)]
    side = 2 * WINDOW + 1
    return ((inside[1] + WINDOW) * side + inside[0] + WINDOW).astype(np.int64), side**2


def photon_set(psf: PSF, n_photons: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii [rad], angles [rad] and weights of the photons: strata in 1 - (1 - t)^2, turned by the golden angle.

    With t uniform, the photon at the quantile u(t) = 1 - (1 - t)^2 carries the weight of its stratum: the tail gets
    light photons, so small fractions are resolved to about 1 / n^2 rather than 1 / n.
    """
    rank = np.arange(n_photons)
    left = 1 - rank / n_photons
    weight = left**2 - (left - 1 / n_photons) ** 2
    radius = psf.radius(1 - (1 - (rank + 0.5) / n_photons) ** 2)
    return radius, GOLDEN_ANGLE * rank, weight / weight.sum()


def _source_directions(generator: np.random.Generator, nside: int, first: int, size: int) -> np.ndarray:
    """Unit vectors (size, 3), uniform on the sphere, and stratified within the pixel.

    Source i lies in a random pixel, in sub-pixel i modulo 4^5 (of equal area), in a random cell of that. What a pixel
    receives depends above all on where in the pixel the source is; this takes most of that scatter away.
    """
    import healpy

    strata, cells = 4**STRATA_LEVELS, 4**CELL_LEVELS
    parent = generator.integers(12 * nside**2, size=size)
    stratum = (first + np.arange(size)) % strata
    cell = (parent * strata + stratum) * cells + generator.integers(cells, size=size)
    return np.stack(healpy.pix2vec(nside << (STRATA_LEVELS + CELL_LEVELS), cell, nest=True), axis=1)


def displaced(xp: Any, centre: Any, radius: Any, angle: Any) -> tuple[Any, Any, Any]:
    """Unit vectors at `radius` (n,) and position angle (sources, n) from `centre` (sources, 3), exact on the sphere.

    Arrays of `xp`, NumPy or CuPy: this is most of the work.
    """
    pole = xp.eye(3)[xp.argmin(xp.abs(centre), axis=1)]
    first = xp.cross(centre, pole)
    first /= xp.linalg.norm(first, axis=1, keepdims=True)
    second = xp.cross(centre, first)
    along, across = xp.sin(radius) * xp.cos(angle), xp.sin(radius) * xp.sin(angle)
    parts = [
        xp.cos(radius) * centre[:, i : i + 1] + along * first[:, i : i + 1] + across * second[:, i : i + 1]
        for i in range(3)
    ]
    return parts[0], parts[1], parts[2]
