"""The exposure and the point-spread function of a data folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.instrument import (
    EffectiveArea,
    Livetime,
    Spacecraft,
    energy_nodes,
    exposure_cube,
)
from gammasky.engine.sky.instrument.effective_area import AREA
from gammasky.engine.sky.instrument.livetime import measure_livetime
from gammasky.engine.sky.instrument.response_files import response_tables
from gammasky.engine.sky.photons.cuts import EVENT_CLASSES, type_names
from gammasky.engine.sky.photons.intervals import Intervals, read_intervals
from gammasky.engine.sky.photons.selection import check_same_cuts
from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.pixels.frames import vectors_of
from gammasky.engine.sky.products.cubes import content_of
from gammasky.engine.sky.products.exposure import ExposureCube
from gammasky.engine.sky.recipes.counted import Counted, Progress
from gammasky.engine.sky.recipes.headers import response_version, selection_in, times_in
from gammasky.engine.sky.recipes.recipe import Exposure, Recipe, named_files
from gammasky.engine.sky.resample import intensity_on

INTERPOLATED = 3  # pixels of livetime around a place that its exposure may depend on
SAME_TIME = 1e-3  # relative: good times of photons and exposure
KINDS = (("FRONT", "BACK"), ("PSF0", "PSF1", "PSF2", "PSF3"), ("EDISP0", "EDISP1", "EDISP2", "EDISP3"))


@dataclass(frozen=True, eq=False)
class Exposed:
    """Exposure by energy bin and pixel.

    Args:
        exposure (E, n_pixels) [cm^2 s]: NaN where it is not known.
        files: what was read.
        notes: what is worth telling, for the report.
        live: the livetime that it was made of; None for a cube.
        types, areas: event types and their effective areas; none for a cube.
    """

    exposure: np.ndarray
    files: list[Path]
    notes: list[str] = field(default_factory=list)
    live: Livetime | None = None
    types: tuple[str, ...] = ()
    areas: tuple[EffectiveArea, ...] = ()


def exposed(recipe: Recipe, counts: Counted, base: Path, progress: Progress | None = None) -> Exposed:
    """The exposure of a recipe, in the pixels and bins of the counts.

    Raises:
        InputError: a file that cannot be used; an exposure that was not cut as the photons, does not cover the bins,
            or is zero in a pixel of the counts.
    """
    settings = recipe.exposure
    if settings.file is not None:
        found = _of_cube(recipe, settings, counts, base)
    else:
        found = _of_spacecraft(recipe, settings, counts, base, progress)
    _check_positive(found.exposure, counts, found.files[0])
    return found


def _of_cube(recipe: Recipe, settings: Exposure, counts: Counted, base: Path) -> Exposed:
    path = base / str(settings.file)
    content, label = content_of(path)
    cube = ExposureCube.read(content, label, settings.frame, settings.hdu, settings.unit)
    check_same_cuts(counts.selection, selection_in(content, label), counts.label, label)
    notes = [f"frame of the exposure: {cube.pixels.frame}, {cube.frame_by}"]
    notes += _check_times(counts.intervals, times_in(content, label), counts.label, label)
    values = cube.in_bins(counts.energy_edges_gev, recipe.spectral_index)
    return Exposed(_brought(values, cube.pixels, counts.pixels), [path], notes)


def _check_times(ours: Intervals | None, theirs: Intervals | None, of_photons: str, of_exposure: str) -> list[str]:
    """Refuse an exposure of other times, where both say theirs."""
    if ours is None or theirs is None:
        who = of_photons if ours is None else of_exposure
        return [f"good times were not compared: {who} has none"]
    shared = float(theirs.overlap(ours.start, ours.stop).sum())
    if abs(shared - ours.total) > SAME_TIME * ours.total or abs(shared - theirs.total) > SAME_TIME * theirs.total:
        raise InputError(
            f"{of_photons}: good times of {ours.total:.0f} s, of which the exposure {of_exposure} shares "
            f"{shared:.0f} s of its {theirs.total:.0f} s; use one of the same times, or make it of the spacecraft file"
        )
    return []


def _of_spacecraft(
    recipe: Recipe, settings: Exposure, counts: Counted, base: Path, progress: Progress | None
) -> Exposed:
    files = named_files(settings.spacecraft or (), base)
    responses = named_files(settings.response or (), base)
    times = counts.intervals if settings.gti is None else read_intervals(base / settings.gti)
    if times is None:
        raise InputError(
            f"{counts.label}: it has no good time intervals (GTI); name a file that has with `exposure.gti`"
        )
    if settings.gti is not None and counts.intervals is not None:
        _check_times(counts.intervals, times, counts.label, str(base / settings.gti))
    zenith = counts.selection.zenith_max_deg
    if None not in (zenith, settings.zenith_max_deg) and zenith != settings.zenith_max_deg:
        raise InputError(
            f"{counts.label}: photons were cut at a zenith angle of {zenith:g} deg, but `exposure.zenith_max_deg` is "
            f"{settings.zenith_max_deg:g}; leave it out"
        )
    zenith = zenith or settings.zenith_max_deg
    types = event_types(counts, settings.event_types)
    areas = areas_of(responses, types)
    _check_versions(counts, responses)
    step = None if progress is None else lambda done, total: progress("livetime", done, total)
    live = measure_livetime(
        Spacecraft.open(files), times, zenith_max_deg=zenith or 180.0, nside=settings.livetime_nside,
        frame=counts.pixels.frame, cos_min=min(area.cos_min for area in areas), azimuth_bins=settings.azimuth_bins,
        wanted=_wanted(counts, settings), progress=step,
    )  # fmt: skip
    nodes = energy_nodes(counts.energy_edges_gev)
    cube = replace(exposure_cube(live, areas, nodes), label=str(responses[0]))
    values = cube.in_bins(counts.energy_edges_gev, recipe.spectral_index)
    notes = [f"livetime within the good times: {live.total_s:.3f} s of {times.total:.3f} s"]
    notes += [] if zenith else ["no limit of the zenith angle is known: photons and exposure reach down to the Earth"]
    brought = _brought(values, cube.pixels, counts.pixels)
    return Exposed(brought, [*files, *responses], notes, live, types, areas)


def _wanted(counts: Counted, settings: Exposure) -> np.ndarray:
    """Whether each direction of a livetime (12 nside^2,) lies in the region or within the margin around it."""
    from scipy.spatial import cKDTree

    coarse = HealpixPixels(settings.livetime_nside, counts.pixels.frame)
    lon, lat = (part[counts.inside] for part in counts.pixels.galactic)
    reach = settings.margin_deg + counts.pixels.spacing_deg + INTERPOLATED * coarse.spacing_deg
    chord = 2 * np.sin(np.deg2rad(min(reach, 180.0)) / 2)
    tree = cKDTree(vectors_of(lon, lat))
    distance, _ = tree.query(vectors_of(*coarse.galactic), distance_upper_bound=chord)
    return np.isfinite(distance)


def _brought(values: np.ndarray, source: Pixels, target: Pixels) -> np.ndarray:
    """An exposure (E, n) in other pixels; in finer HEALPix pixels of the same frame too it runs smoothly."""
    finer = isinstance(source, HealpixPixels) and isinstance(target, HealpixPixels) and target.nside > source.nside
    if not finer:
        return intensity_on(values, source, target)
    return np.stack([source.interpolate(layer, *target.galactic) for layer in values])


def event_types(counts: Counted, named: Sequence[str] | None) -> tuple[str, ...]:
    """The event types of the photons, by name: those of one division of all events.

    Raises:
        InputError: not said, or types of several divisions, which overlap.
    """
    mask = counts.selection.event_type
    types = tuple(named) if named else tuple(type_names(mask)) if mask is not None else ()
    if not types:
        raise InputError(f"{counts.label}: its event types are not known; name them with `exposure.event_types`")
    if not any(set(types) <= set(kind) for kind in KINDS):
        raise InputError(
            f"{counts.label}: event types {', '.join(types)} overlap; use some of one division: "
            + ", or ".join(", ".join(kind) for kind in KINDS)
        )
    if named and mask is not None and set(type_names(mask)) != set(types):
        raise InputError(
            f"{counts.label}: photons of the types {', '.join(type_names(mask))}, but `event_types` names "
            f"{', '.join(types)}; leave it out"
        )
    return types


def areas_of(files: Sequence[Path], types: Sequence[str]) -> tuple[EffectiveArea, ...]:
    """The effective area of each event type, from the file that has it.

    Raises:
        InputError: no file has one of them, or two do.
    """
    return tuple(EffectiveArea.open(path, name) for name, path in in_files(files, AREA, types).items())


def in_files(files: Sequence[Path], prefix: str, types: Sequence[str]) -> dict[str, Path]:
    """Which of several response files has each event type.

    Raises:
        InputError: none has one of them, or two do.
    """
    has = {path: response_tables(path, prefix)[0] for path in files}
    found = {}
    for name in types:
        holders = [path for path, names in has.items() if name in names]
        if len(holders) != 1:
            told = ", ".join(sorted({name for names in has.values() for name in names}))
            what = "several files have" if holders else "no file has"
            raise InputError(f"{files[0]}: {what} the event type '{name}' of the photons; found: {told}")
        found[name] = holders[0]
    return found


def _check_versions(counts: Counted, responses: Sequence[Path]) -> None:
    """Refuse a response that is of another event class or reconstruction than the photons."""
    classes = {mask: name for name, mask in EVENT_CLASSES.items()}
    wanted = classes.get(counts.selection.event_class or 0)
    for path in responses:
        version = response_version(path)
        if version is None:
            continue
        parts = version.split("_")
        if (wanted and wanted not in parts) or (counts.selection.version or parts[0]) != parts[0]:
            told = " ".join(str(part) for part in (counts.selection.version, wanted) if part)
            raise InputError(f"{path}: the response {version}, but the photons are {told}; use the response of these")


def _check_positive(exposure: np.ndarray, counts: Counted, path: Path) -> None:
    """Refuse pixels of the counts without exposure."""
    bad = ~(exposure > 0) & counts.inside
    if bad.any():
        energy_bin, pixel = (int(i) for i in np.argwhere(bad)[0])
        lon, lat = (float(part[pixel]) for part in counts.pixels.galactic)
        what = "zero" if np.isfinite(exposure[energy_bin, pixel]) else "not known"
        raise InputError(
            f"{path}: the exposure is {what} in {int(bad.any(axis=0).sum())} of {int(counts.inside.sum())} pixels of "
            f"the region, the first at l = {lon:.2f}, b = {lat:.2f}; narrow `region` to what was seen"
        )
