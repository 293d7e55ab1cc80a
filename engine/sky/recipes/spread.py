"""The point-spread function of a data folder: a table at energies, or what a recipe gives in numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.instrument import KingTables, inclination_profile, response_psf, uniform_inclinations
from gammasky.engine.sky.instrument.king_tables import PSF
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.pixels.frames import vectors_of
from gammasky.engine.sky.products.psf_table import PSFTable
from gammasky.engine.sky.recipes.counted import Counted
from gammasky.engine.sky.recipes.exposed import Exposed, areas_of, event_types, in_files
from gammasky.engine.sky.recipes.recipe import PSFResponse, PSFTableFile, Recipe, named_files


def spread(
    recipe: Recipe, counts: Counted, exposure: Exposed, base: Path
) -> tuple[PSFTable | None, list[Path], list[str]]:
    """The table of a recipe's PSF, the files that it is of, and notes for the report; None: the recipe has the numbers.

    Raises:
        InputError: a file that cannot be used, or energies that do not cover the bins.
    """
    settings = recipe.psf
    if isinstance(settings, PSFTableFile):
        path = base / settings.file
        table = PSFTable.open(path)
        table.in_bins(counts.energy_edges_gev, recipe.spectral_index)
        return table, [path], []
    if not isinstance(settings, PSFResponse):
        return None, [], []
    types = exposure.types or event_types(counts, settings.event_types)
    files = named_files(settings.response, base)
    area_files = settings.effective_area or recipe.exposure.response
    if not exposure.areas and area_files is None:
        raise InputError("psf: expected `effective_area`, the files whose areas weigh energies and inclinations")
    areas = exposure.areas or areas_of(named_files(area_files or (), base), types)
    tables = [KingTables.open(path, name) for name, path in in_files(files, PSF, types).items()]
    if exposure.live is None:
        inclinations = uniform_inclinations(min(area.cos_min for area in areas))
        note = (
            "PSF: averaged over the field of view, each direction alike, since the exposure does not tell inclinations"
        )
    else:
        inclinations = inclination_profile(exposure.live, _seen(counts, exposure))
        note = "PSF: averaged over the inclinations at which the region was seen"
    return response_psf(tables, areas, inclinations, counts.energy_edges_gev), files, [note]


def _seen(counts: Counted, exposure: Exposed) -> np.ndarray:
    """Numbers of the directions of the livetime that lie in the region."""
    assert exposure.live is not None
    coarse = HealpixPixels(exposure.live.nside, exposure.live.frame)
    lon, lat = (part[counts.inside] for part in counts.pixels.galactic)
    return np.unique(coarse.find(vectors_of(lon, lat)))
