"""The manifest of a dataset, `dataset.toml`: what its files are and what they mean."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gammasky.engine.errors import unknown_name
from gammasky.engine.files import read_toml
from gammasky.engine.sky.pixels.frames import Frame
from gammasky.engine.sky.psf import SPECTRAL_INDEX, PSFSettings
from gammasky.engine.sky.schema import Schema, validated

MANIFEST_NAME = "dataset.toml"


class MapFile(Schema):
    """A map in a file: `.npy`, a HEALPix table or an image with a celestial WCS in FITS, or a cube of either.

    Any of them may be compressed (`.gz`). What a file says of itself counts, and may not contradict what is said here:
    `ordering` and `frame` are for files that do not say them. A `.npy` map is RING and Galactic unless they say more.

    Args:
        file: name of the file, relative to the manifest.
        projection: "healpix" or "car" (any image) to say which of the two is meant where a file could hold both.
        ordering: ordering of HEALPix pixels, where the file does not say it.
        frame: frame of the coordinates, where the file does not say it.
        field: columns of a table by name, or by number not counting that of the pixel numbers; one for each energy bin.
        hdu: extension, by name or number; by default 1 for tables and 0 for images.
        description: free text.
    """

    file: str
    projection: Literal["healpix", "car"] | None = None
    ordering: Literal["ring", "nested"] | None = None
    frame: Frame | None = None
    hdu: int | str | None = None
    field: int | str | list[int | str] | None = None
    description: str = ""


class CountsMap(MapFile):
    """Photon counts: their pixels, HEALPix or those of an image, in their own frame, are those of the dataset.

    Args:
        unit: unit of the map.
        expected: they are the expected counts of a model (Asimov data), which need not be whole, and no photons.
    """

    unit: Literal["counts"] = "counts"
    expected: bool = False


class ExposureMap(MapFile):
    """Exposure, in any unit of area times time; in cm2 s where neither the file nor `unit` says one.

    Args:
        unit: unit of area times time, such as "m2 s", where the file does not say it.
        spectral_index: index of the photon spectrum E^-index that an exposure at several energies is averaged with.
    """

    unit: str | None = None
    spectral_index: float = SPECTRAL_INDEX


class TemplateMap(MapFile):
    """An emission template, up to a factor: `counts` is exposure corrected, `intensity` is not.

    Args:
        unit: "counts", with the exposure in them, or "intensity", without it.
        extrapolate: whether a cube or a spectrum goes on beyond its energies, with the power law between the last two.
    """

    unit: Literal["counts", "intensity"]
    extrapolate: bool = False


class CatalogueTemplate(Schema):
    """The sum of a catalogue's fluxes through the point-spread function of each energy bin, an intensity.

    Args:
        catalogue: name of the catalogue among the `sources` of the dataset.
        description: free text.
    """

    catalogue: str
    description: str = ""

    @property
    def unit(self) -> Literal["intensity"]:
        """The unit of the map: a catalogue gives intensities, which do not include the exposure."""
        return "intensity"


def _kind_of_template(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value)
    return "of a catalogue" if "catalogue" in given else "of a file"


AnyTemplateMap = Annotated[
    Annotated[TemplateMap, Tag("of a file")] | Annotated[CatalogueTemplate, Tag("of a catalogue")],
    Discriminator(_kind_of_template),
]


class MaskMap(MapFile):
    """A mask of two values.

    Args:
        masked_where: the value of the masked pixels.
    """

    masked_where: bool | int = True


class SourceTable(Schema):
    """A catalogue: a text table (`.csv`, ECSV) or a table in a FITS file, such as those of the mission.

    Positions are in degrees unless the file gives a unit, and Galactic unless `frame`, or names such as RAJ2000 and
    DEJ2000, say equatorial (ICRS).

    Args:
        file: name of the file, relative to the manifest.
        frame: frame of the positions, where the names of the columns do not say it.
        hdu: extension, by name or number.
        description: free text.
        lon, lat: columns of positions; by default GLON and GLAT, RAJ2000 and DEJ2000, or lon and lat.
        flux: column of photon fluxes; by default Flux50 (2FHL), Flux (3FHL) or Flux1000 (3FGL, 4FGL, FL16Y).
        band_gev [GeV]: band of the fluxes of `flux`; by default that of the dataset.
    """

    file: str
    lon: str | None = None
    lat: str | None = None
    flux: str | None = None
    band_gev: tuple[float, float] | None = None
    frame: Frame | None = None
    hdu: int | str = 1
    description: str = ""


class DataFile(Schema):
    """A file that can be downloaded.

    Args:
        sha256: the SHA-256 of its content, in hexadecimal digits.
        urls: addresses to try, in this order.
    """

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    urls: tuple[str, ...] = ()


class Work(Schema):
    """A work to cite where the data set is used, or where one of its maps and masks is.

    Args:
        why: what it is cited for.
        names: maps and masks, by name or by a pattern with shell wildcards; none: for the data set itself.
        bibtex: BibTeX entry, or "arXiv:" and the identifier of a work whose entry the package has elsewhere.
    """

    why: str
    names: tuple[str, ...] = ()
    bibtex: Annotated[str, Field(pattern=r"^\s*@\w+\{[^\s,{}]+,|^arXiv:\S+$")]

    def applies(self, used: Collection[str]) -> bool:
        """Whether it is to be cited where these maps and masks are used."""
        return not self.names or any(fnmatchcase(name, pattern) for name in used for pattern in self.names)


class Manifest(Schema):
    """The whole of `dataset.toml`.

    `frame`, `nside` and `energy_edges_gev` are those of the counts, where these say them, unless they are given here: a
    coarser nside, or edges among those of the counts, between which bins are added up.

    Args:
        name: name of the data set: letters, digits and `_.-`.
        description: free text.
        citation: what to cite, as text; the arXiv identifiers in it count where there are no `works`.
        works: what to cite, each with its BibTeX entry.
        frame: frame of the counts; another than theirs is refused.
        nside: a coarser HEALPix resolution that the counts are added up to.
        energy_edges_gev [GeV]: edges of the energy bins; by default those of a counts cube.
        counts: the map or cube of photon counts.
        exposure: the map or cube of the exposure.
        templates: maps that models take as templates, by name.
        masks: maps that take pixels out of the fit, by name.
        sources: catalogues of sources, by name.
        psf: the point-spread function.
        files: checksums and addresses of files, by their names.
        truth: the parameters that simulated counts were drawn with.
        thresholds_cm2_s [cm^-2 s^-1]: for a catalogue, by its name, the fluxes (low, high) in the dataset's energy
            range between which its sources begin to be resolved.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    citation: str = ""
    works: tuple[Work, ...] = ()
    frame: Frame | None = None
    nside: int | None = None
    energy_edges_gev: tuple[float, ...] | None = None
    counts: CountsMap
    exposure: ExposureMap
    templates: dict[str, AnyTemplateMap] = Field(default_factory=dict)
    masks: dict[str, MaskMap] = Field(default_factory=dict)
    sources: dict[str, SourceTable] = Field(default_factory=dict)
    psf: PSFSettings
    files: dict[str, DataFile] = Field(default_factory=dict)
    truth: dict[str, float | tuple[float, ...]] = Field(default_factory=dict)
    thresholds_cm2_s: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @field_validator("thresholds_cm2_s")
    @classmethod
    def _rising_thresholds(cls, thresholds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        if any(not 0 < low <= high for low, high in thresholds.values()):
            raise ValueError("expected two positive, rising fluxes [cm^-2 s^-1] of each catalogue")
        return thresholds

    def thresholds_in_counts(self, exposure_cm2_s: float) -> dict[str, tuple[float, float]]:
        """The thresholds as photons (low, high) of a source at this exposure."""
        known = self.thresholds_cm2_s.items()
        return {name: (low * exposure_cm2_s, high * exposure_cm2_s) for name, (low, high) in known}

    def template_file(self, name: str) -> str:
        """The file that the template `name` is made from.

        Raises:
            InputError: a template of a catalogue that the dataset does not have.
        """
        entry = self.templates[name]
        if isinstance(entry, TemplateMap):
            return entry.file
        if entry.catalogue not in self.sources:
            raise unknown_name("source catalogue", entry.catalogue, self.sources)
        return self.sources[entry.catalogue].file

    @model_validator(mode="after")
    def _known_names_in_works(self) -> Self:
        known = [*self.templates, *self.masks, *self.sources]
        for pattern in [pattern for work in self.works for pattern in work.names]:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ValueError(f"works: {unknown_name('map or mask', pattern, known)}")
        return self

    @field_validator("nside")
    @classmethod
    def _healpix_nside(cls, nside: int | None) -> int | None:
        if nside is not None and not (1 <= nside <= 8192 and not nside & (nside - 1)):
            raise ValueError("expected a power of 2 from 1 to 8192")
        return nside

    @field_validator("energy_edges_gev")
    @classmethod
    def _rising_edges(cls, edges: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if edges is None:
            return None
        if len(edges) < 2 or edges[0] <= 0 or any(high <= low for low, high in pairwise(edges)):
            raise ValueError("expected at least two positive, rising energies [GeV]")
        return edges


class OtherCounts(Schema):
    """A manifest that takes everything but the counts from another dataset.

    Args:
        base: name, folder or manifest of that other dataset.
        name: name of this data set: letters, digits and `_.-`.
        description: free text.
        counts: the map of its own counts.
        truth: the parameters that simulated counts were drawn with.
    """

    base: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    counts: CountsMap
    truth: dict[str, float | tuple[float, ...]] = Field(default_factory=dict)


def _known_fields() -> frozenset[str]:
    tables = (Manifest, OtherCounts, CountsMap, TemplateMap, CatalogueTemplate, MaskMap, SourceTable, DataFile, Work)
    return frozenset(name for table in tables for name in table.model_fields)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest in the file `path`.

    Raises:
        InputError: missing, not TOML, or a field that does not fit; one line with the file and the field.
    """
    return validated(Manifest, read_toml(path), str(path), _known_fields())


def read_any_manifest(path: Path) -> Manifest | OtherCounts:
    """Read a manifest of either kind: one with the key `base` takes all but the counts from another dataset."""
    values, known = read_toml(path), _known_fields()
    if "base" in values:
        return validated(OtherCounts, values, str(path), known)
    return validated(Manifest, values, str(path), known)


def shipped_manifests() -> dict[str, Path]:
    """The manifests that come with the package, by dataset name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}
