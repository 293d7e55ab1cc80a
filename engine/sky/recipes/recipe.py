"""A recipe: what `gammasky data build` makes a data folder of. Every key is told of in docs/data.md."""

from __future__ import annotations

import glob
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_toml
from gammasky.engine.sky.manifest import AnyTemplateMap, CatalogueTemplate, MaskMap, SourceTable, TemplateMap, Work
from gammasky.engine.sky.photons.cuts import PhotonCuts
from gammasky.engine.sky.pixels.frames import Frame
from gammasky.engine.sky.psf import SPECTRAL_INDEX, DeltaPSF, GaussianPSF, KingPSF, TablePSF
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.schema import Schema, validated

ONLY_GEOMETRY = ("mask", "sources", "exposure_regions")
Files = str | tuple[str, ...]


class LogBins(Schema):
    """Energy bins of equal width in log E.

    Args:
        low, high [GeV]: the lowest and the highest edge.
        bins: how many there are.
    """

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]
    bins: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _rising(self) -> LogBins:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g} GeV")
        return self


class PixelsOf(Schema):
    """Where photons are counted: HEALPix pixels (`nside`), or an image about a centre (`projection` and the rest).

    Args:
        nside: HEALPix resolution, RING order; for a counts cube one that is coarser than its own.
        frame: frame of the pixels.
        projection: projection of an image.
        center_lon, center_lat [deg]: centre of an image, in `frame`.
        width_deg, height_deg [deg]: size of an image.
        pixel_deg [deg]: size of its pixels.
    """

    nside: Annotated[int, Field(ge=1, le=8192)] | None = None
    frame: Frame = "galactic"
    projection: Literal["CAR", "AIT", "TAN", "ZEA"] | None = None
    center_lon: float = 0.0
    center_lat: Annotated[float, Field(ge=-90, le=90)] = 0.0
    width_deg: Annotated[float, Field(gt=0, le=360)] | None = None
    height_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    pixel_deg: Annotated[float, Field(gt=0, le=10)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PixelsOf:
        size = (self.width_deg, self.height_deg, self.pixel_deg)
        if (self.nside is None) == (self.projection is None):
            raise ValueError("expected either `nside`, or `projection` with `width_deg`, `height_deg` and `pixel_deg`")
        if self.projection is not None and None in size:
            raise ValueError("an image needs `width_deg`, `height_deg` and `pixel_deg`")
        if self.nside is not None and (any(size) or self.nside & (self.nside - 1)):
            raise ValueError(f"expected nside, a power of 2, and no size of an image; got nside {self.nside}")
        return self


class Photons(PhotonCuts):
    """Photon lists (FT1), and cuts on them.

    Args:
        files: a file or several, with shell wildcards; relative to the recipe.
    """

    files: Files


class Cube(Schema):
    """A cube of the mission's tools.

    Args:
        file: name of the file, relative to the recipe.
        frame: frame of its pixels, where the file does not say it.
        hdu: extension, by name or number, where several could be meant.
    """

    file: str
    frame: Frame | None = None
    hdu: int | str | None = None


class Exposure(Schema):
    """Exposure: a cube (`file`), or made of spacecraft files and effective areas.

    Args:
        file, frame, hdu, unit: an exposure cube.
        spacecraft: spacecraft files (FT2).
        response: effective areas, one file or several, that have the event types of the photons.
        event_types: names of the event types, where the photons do not say them.
        zenith_max_deg [deg]: the largest zenith angle, where the photons do not say it.
        gti: a file with good time intervals, where the photons have none.
        margin_deg [deg]: how far around the region it is made: sources there are simulated too, where simulations are
            asked for.
        livetime_nside: resolution of the directions that livetime is added up for.
        azimuth_bins: bins of the azimuth; 1 (as by default in the mission's tools): areas are averaged over it.
    """

    file: str | None = None
    frame: Frame | None = None
    hdu: int | str | None = None
    unit: str | None = None
    spacecraft: Files | None = None
    response: Files | None = None
    event_types: tuple[str, ...] | None = None
    zenith_max_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    gti: str | None = None
    margin_deg: Annotated[float, Field(ge=0, le=180)] = 20.0
    livetime_nside: Annotated[int, Field(ge=1, le=1024)] = 64
    azimuth_bins: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _one_kind(self) -> Exposure:
        if (self.file is None) == (self.spacecraft is None):
            raise ValueError("expected either `file`, an exposure cube, or `spacecraft` and `response`")
        if self.spacecraft is not None and self.response is None:
            raise ValueError("`spacecraft` needs `response`, the files with the effective area")
        if self.spacecraft is not None and (self.frame or self.hdu is not None or self.unit):
            raise ValueError("`frame`, `hdu` and `unit` are of an exposure cube; leave them out beside `spacecraft`")
        return self


class PSFTableFile(Schema):
    """A table of the PSF at energies, as the mission's `gtpsf` writes it.

    Args:
        kind: the word for this kind of PSF.
        file: name of the file, relative to the recipe.
    """

    kind: Literal["file"] = "file"
    file: str


class PSFResponse(Schema):
    """The PSF of response files.

    Args:
        kind: the word for this kind of PSF.
        response: PSF files that have the event types of the photons.
        effective_area: files with their effective area; by default those of the exposure.
        event_types: names of the event types, where neither the photons nor the exposure say them.
    """

    kind: Literal["response"] = "response"
    response: Files
    effective_area: Files | None = None
    event_types: tuple[str, ...] | None = None


PSFChoice = Annotated[
    PSFTableFile | PSFResponse | KingPSF | GaussianPSF | TablePSF | DeltaPSF, Field(discriminator="kind")
]


class Recipe(Schema):
    """The whole of a recipe.

    Args:
        name: name of the data set that is made.
        description, citation, works: text and works that go into its `dataset.toml`, as there.
        energy_edges_gev: edges of the bins [GeV], or `{low, high, bins}`; for a counts cube edges among its own, by
            default all of them.
        spectral_index: index of the spectrum E^-index that exposure and PSF are averaged with over a bin.
        pixels: where photons are counted; for a counts cube by default its own.
        region: the part of the sky that is kept, by the cuts of a model's region; without it all of it.
        photons: photon lists, and cuts on them.
        counts: a counts cube, in place of photons.
        exposure: an exposure cube, or how it is made.
        psf: the point-spread function.
        isotropic: name of a template of the same intensity everywhere, which is made.
        templates, masks, sources: maps and catalogues that models ask for by name, as in `dataset.toml`; their files
            are copied.
        thresholds_cm2_s: fluxes (low, high) between which the sources of a catalogue begin to be resolved.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    citation: str = ""
    works: tuple[Work, ...] = ()
    energy_edges_gev: LogBins | tuple[float, ...] | None = None
    spectral_index: Annotated[float, Field(ge=-10, le=10)] = SPECTRAL_INDEX
    pixels: PixelsOf | None = None
    region: RegionOfInterest | None = None
    photons: Photons | None = None
    counts: Cube | None = None
    exposure: Exposure
    psf: PSFChoice
    isotropic: Annotated[str, Field(min_length=1)] | None = None
    templates: dict[str, AnyTemplateMap] = Field(default_factory=dict)
    masks: dict[str, MaskMap] = Field(default_factory=dict)
    sources: dict[str, SourceTable] = Field(default_factory=dict)
    thresholds_cm2_s: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _belongs_together(self) -> Recipe:
        if (self.photons is None) == (self.counts is None):
            raise ValueError("expected either `photons`, with photon lists, or `counts`, with a counts cube")
        if self.photons is not None and (self.energy_edges_gev is None or self.pixels is None):
            raise ValueError("`photons` need `energy_edges_gev` and `pixels` to be counted in")
        if self.counts is not None and self.pixels is not None and self.pixels.nside is None:
            raise ValueError("a counts cube has its own pixels; give a coarser `nside`, or leave `pixels` out")
        edges = self.energy_edges_gev
        if isinstance(edges, tuple) and (
            len(edges) < 2 or edges[0] <= 0 or any(high <= low for low, high in pairwise(edges))
        ):
            raise ValueError("energy_edges_gev: expected at least two positive, rising energies [GeV]")
        if self.isotropic in self.templates:
            raise ValueError(f"isotropic: '{self.isotropic}' is among the `templates`; give it another name")
        if self.region is not None:
            set_too = self.region.model_fields_set & set(ONLY_GEOMETRY)
            if set_too:
                raise ValueError(
                    f"region: {sorted(set_too)[0]} is for models; a recipe takes the cuts on positions only"
                )
        return self

    @property
    def edges_gev(self) -> np.ndarray | None:
        """Edges of the energy bins (E + 1,) [GeV]; None: those of the counts cube."""
        edges = self.energy_edges_gev
        if isinstance(edges, LogBins):
            return np.geomspace(edges.low, edges.high, edges.bins + 1)
        return None if edges is None else np.array(edges)


PARTS = (
    Recipe, LogBins, PixelsOf, Photons, Cube, Exposure, PSFResponse, TemplateMap, CatalogueTemplate, MaskMap,
    SourceTable,
    RegionOfInterest,
)  # fmt: skip


def recipe_of(values: dict[str, Any], where: str) -> Recipe:
    """A recipe from the table of its keys.

    Raises:
        InputError: a key that is unknown or does not fit; one line with `where` and the key.
    """
    known = frozenset(name for part in PARTS for name in part.model_fields)
    return validated(Recipe, values, where, known)


def read_recipe(path: Path | str) -> Recipe:
    """The recipe in the TOML file `path`.

    Raises:
        InputError: missing, not TOML, or a key that does not fit.
    """
    return recipe_of(read_toml(Path(path)), str(path))


def named_files(files: Files, base: Path) -> list[Path]:
    """The files of one key: relative names are beside the recipe, and wildcards give all that match, in order.

    Raises:
        InputError: a pattern that matches nothing.
    """
    found: list[Path] = []
    for name in (files,) if isinstance(files, str) else files:
        path = base / name
        if not any(mark in name for mark in "*?["):
            found.append(path)
            continue
        matches = [Path(match) for match in sorted(glob.glob(str(path)))]
        if not matches:
            raise InputError(f"{path}: no file matches; correct the pattern, or put the files there")
        found.extend(matches)
    return found
