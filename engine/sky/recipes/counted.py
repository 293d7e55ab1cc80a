"""The counts of a data folder: photons that are binned, or a counts cube that is taken over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.maps import NOT_OBSERVED
from gammasky.engine.sky.photons.binning import PartOfSky, bin_photons
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.photon_list import PhotonList, common_intervals, open_lists
from gammasky.engine.sky.photons.selection import Selection
from gammasky.engine.sky.pixels import HealpixPixels, Pixels, ProjectedPixels
from gammasky.engine.sky.pixels.frames import in_frame, vectors_of
from gammasky.engine.sky.products.counts import CountsCube
from gammasky.engine.sky.products.cubes import content_of
from gammasky.engine.sky.recipes.headers import selection_in, times_in
from gammasky.engine.sky.recipes.recipe import PixelsOf, Recipe, named_files
from gammasky.engine.sky.resample import counts_on

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Counted:
    """Counts, and what is known of how they came about.

    Args:
        label: how errors name where they came from.
        pixels: that they are in.
        energy_edges_gev (E + 1,) [GeV]: edges of the bins.
        counts (E, n_pixels) int64: NOT_OBSERVED outside of the region.
        selection: the cuts in force, those of the recipe among them.
        intervals: the good times; None: none are known.
        files: what was read.
        cut: what each cut took, in their order; empty for a cube.
        n_read: photons in the lists; 0 for a cube.
    """

    label: str
    pixels: Pixels
    energy_edges_gev: np.ndarray
    counts: np.ndarray
    selection: Selection
    intervals: Intervals | None
    files: list[Path]
    cut: dict[str, int] = field(default_factory=dict)
    n_read: int = 0

    @property
    def inside(self) -> np.ndarray:
        """Whether each pixel is observed (n_pixels,)."""
        return np.asarray((self.counts != NOT_OBSERVED).all(axis=0))


def counted(recipe: Recipe, base: Path, progress: Progress | None = None) -> Counted:
    """The counts of a recipe.

    Args:
        recipe: what to make.
        base: folder that names of files are relative to.
        progress: called with what is done, the part that is done, and the whole.

    Raises:
        InputError: a file that cannot be used, energies or a region that it does not cover, an empty region.
    """
    return _photons(recipe, base, progress) if recipe.photons is not None else _cube(recipe, base)


def _photons(recipe: Recipe, base: Path, progress: Progress | None) -> Counted:
    cuts, edges = recipe.photons, recipe.edges_gev
    assert cuts is not None
    assert edges is not None
    assert recipe.pixels is not None
    files = named_files(cuts.files, base)
    lists = open_lists(files)
    pixels = pixels_of(recipe.pixels)
    inside = _inside(recipe, pixels)
    for photons in lists:
        _check_circles(photons, pixels, inside)
    numbers = np.flatnonzero(inside)
    where = pixels if inside.all() else PartOfSky(pixels, numbers)
    step = None if progress is None else lambda done, total: progress("photons", done, total)
    binned = bin_photons(lists, where, 1e3 * edges, cuts, progress=step)
    counts = np.full((len(edges) - 1, pixels.n_pixels), NOT_OBSERVED)
    counts[:, numbers] = binned.counts
    selection = lists[0].selection.narrowed(cuts.event_class, cuts.event_type, cuts.zenith_max_deg, str(files[0]))
    times = common_intervals(lists)
    if times is not None and (cuts.time_min_s is not None or cuts.time_max_s is not None):
        low = -np.inf if cuts.time_min_s is None else cuts.time_min_s
        times = times.within(low, np.inf if cuts.time_max_s is None else cuts.time_max_s)
        if not len(times.start):
            raise InputError(f"{files[0]}: no good time lies between time_min_s and time_max_s; correct them")
    label = str(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    return Counted(label, pixels, edges, counts, selection, times, files, binned.cut, binned.n_read)


def _cube(recipe: Recipe, base: Path) -> Counted:
    assert recipe.counts is not None
    path = base / recipe.counts.file
    content, label = content_of(path)
    cube = CountsCube.read(content, label, recipe.counts.frame, recipe.counts.hdu)
    edges = cube.energy_edges_gev if recipe.edges_gev is None else recipe.edges_gev
    counts, pixels = cube.in_bins(edges), cube.pixels
    if recipe.pixels is not None:
        target = pixels_of(recipe.pixels)
        values = np.where(counts == NOT_OBSERVED, np.nan, counts)
        counts, pixels = counts_on(values, pixels, target, label), target
    inside = _inside(recipe, pixels)
    counts = np.where(inside, counts, NOT_OBSERVED)
    return Counted(label, pixels, edges, counts, selection_in(content, label), times_in(content, label), [path])


def pixels_of(settings: PixelsOf) -> Pixels:
    """The pixels that a recipe asks for."""
    if settings.nside is not None:
        return HealpixPixels(settings.nside, settings.frame)
    from astropy.io import fits

    assert settings.width_deg
    assert settings.height_deg
    assert settings.pixel_deg
    columns, rows = (max(1, round(size / settings.pixel_deg)) for size in (settings.width_deg, settings.height_deg))
    straight = settings.projection in ("CAR", "AIT")  # their reference is on the equator, or they would be oblique
    names = ("GLON", "GLAT") if settings.frame == "galactic" else ("RA--", "DEC-")
    if settings.projection == "AIT" and settings.center_lat:
        raise InputError("pixels: an AIT image is centred on the equator; set center_lat = 0, or use CAR, TAN or ZEA")
    header = fits.Header({
        "CTYPE1": f"{names[0]}-{settings.projection}", "CTYPE2": f"{names[1]}-{settings.projection}",
        "CRVAL1": settings.center_lon, "CRVAL2": 0.0 if straight else settings.center_lat,
        "CDELT1": -settings.pixel_deg, "CDELT2": settings.pixel_deg, "CUNIT1": "deg", "CUNIT2": "deg",
        "CRPIX1": (columns + 1) / 2,
        "CRPIX2": (rows + 1) / 2 - (settings.center_lat / settings.pixel_deg if straight else 0.0),
    })  # fmt: skip
    return ProjectedPixels.of_header(header, (rows, columns), "pixels")


def _inside(recipe: Recipe, pixels: Pixels) -> np.ndarray:
    """Whether the centre of each pixel is in the region, and in the sky at all (n_pixels,)."""
    lon, lat = pixels.galactic
    inside = np.isfinite(lon)
    if recipe.region is not None:
        with np.errstate(invalid="ignore"):
            inside = inside & recipe.region.contains(lon, lat)
    if not inside.any():
        raise InputError(f"region: no pixel is inside ({pixels.name}); widen its cuts, or use smaller pixels")
    return np.asarray(inside)


def _check_circles(photons: PhotonList, pixels: Pixels, inside: np.ndarray) -> None:
    """Refuse pixels beyond the discs that a list was cut to.

    Raises:
        InputError: says how many.
    """
    lon, lat = pixels.galactic
    for ra, dec, radius in photons.selection.circles:
        centre = vectors_of(*in_frame(np.array(ra), np.array(dec), "equatorial", "galactic"))
        distance = np.arccos(np.clip(vectors_of(lon[inside], lat[inside]) @ centre, -1.0, 1.0))
        beyond = int((np.rad2deg(distance) + 0.75 * pixels.spacing_deg > radius).sum())
        if beyond:
            raise InputError(
                f"{photons.path}: its photons were taken within {radius:g} deg of RA {ra:g}, Dec {dec:g}, but {beyond} "
                f"of {int(inside.sum())} pixels reach beyond; narrow `region`"
            )
