"""A dataset: counts, exposure, templates, masks and PSF of one observation, read as they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.files import read_bytes
from gammasky.engine.sky import maps
from gammasky.engine.sky.catalogues import Catalogue
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.loading import counts_of, exposure_of, template_of, working_pixels
from gammasky.engine.sky.manifest import MANIFEST_NAME, CatalogueTemplate, Manifest, MapFile
from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.psf import PSF, IRFSettings, PSFFile
from gammasky.engine.sky.readers import Maps, load_map
from gammasky.engine.sky.resample import mask_on
from gammasky.engine.sky.resolve import resolve
from gammasky.engine.sky.source_maps import source_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Maps in the pixels of the counts, with an explicit energy axis.

    Args:
        manifest: what the files are; with frame, nside (of HEALPix pixels) and energies, where they were the counts'.
        folder: where they lie.
        pixels: HEALPix, RING order, or a projected grid.
        counts (E, npix): photons.
        exposure (E, npix) [cm^2 s]: exposure.
        checksums: SHA-256 of every file read so far, by file name; what identifies a fit is its Observation's digest.
        notes: what was understood that the files do not say.

    Example:
        >>> import gammasky
        >>> gammasky.Dataset.open("demo").mask_names
        ['3fgl_0p8deg']
    """

    manifest: Manifest
    folder: Path
    pixels: Pixels
    counts: np.ndarray
    exposure: np.ndarray
    checksums: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _templates: dict[str, tuple[np.ndarray, bool]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, name_or_path: str | Path, data_dir: Path | str | None = None) -> Dataset:
        """The dataset of that name, or the one whose manifest (or folder with `dataset.toml`) is at that path.

        Args:
            name_or_path: a shipped name such as "fermi", a folder, or a manifest.
            data_dir: where the files of a shipped dataset lie; default: `$GAMMASKY_DATA`, the per-user cache, and
                `../shared/<name>` of the current folder and its parents.

        Raises:
            InputError: unknown name, files not found, or a file that cannot be used.
        """
        manifest, folder = resolve(name_or_path, data_dir)
        checksums: dict[str, str] = {}
        counts, label = _read(manifest.counts, manifest, folder, checksums)
        pixels = working_pixels(counts, manifest, label)
        manifest = _resolved(manifest, counts, pixels, label)
        n_bins = len(manifest.energy_edges_gev or ()) - 1
        photons = counts_of(counts, pixels, n_bins, label, expected=manifest.counts.expected)
        exposure, label = _read(manifest.exposure, manifest, folder, checksums)
        notes = [maps.note for maps in (counts, exposure) if maps.note]
        return cls(manifest, folder, pixels, photons, exposure_of(exposure, pixels, n_bins, label), checksums, notes)

    @classmethod
    def from_photons(
        cls,
        out: Path | str,
        *,
        photons: Mapping[str, Any],
        energy_edges_gev: Sequence[float] | np.ndarray | Mapping[str, float],
        pixels: Mapping[str, Any],
        exposure: Mapping[str, Any],
        psf: Mapping[str, Any] | PSF,
        base: Path | str = ".",
        **keys: Any,
    ) -> Dataset:
        """Build a data folder of photon lists, as `gammasky data build` does, and open it.

        Args:
            out: the folder, which must not be there.
            photons: photon lists and cuts on them, such as `{"files": "events.fits", "zenith_max_deg": 90}`.
            energy_edges_gev (E + 1,) [GeV]: edges of the bins, or `{"low": 2, "high": 20, "bins": 4}`.
            pixels: where they are counted, such as `{"nside": 128}`.
            exposure: an exposure cube, or spacecraft files and effective areas.
            psf: as in a recipe, or a point-spread function.
            base: folder that names of files are relative to.
            keys: others of a recipe (docs/data.md): `name` (by default that of the folder), `region`, `templates`, ...

        Raises:
            InputError: an unknown key, or a recipe that cannot be followed; nothing is left behind.
        """
        edges = energy_edges_gev
        bins = dict(edges) if isinstance(edges, Mapping) else np.asarray(edges).tolist()
        keys |= {"photons": photons, "energy_edges_gev": bins, "pixels": pixels, "exposure": exposure, "psf": psf}
        return cls._built(out, base, keys)

    @classmethod
    def from_products(
        cls,
        out: Path | str,
        *,
        counts: Mapping[str, Any],
        exposure: Mapping[str, Any],
        psf: Mapping[str, Any] | PSF,
        energy_edges_gev: Sequence[float] | np.ndarray | None = None,
        base: Path | str = ".",
        **keys: Any,
    ) -> Dataset:
        """Build a data folder of cubes that the mission's tools wrote, as `gammasky data build` does, and open it.

        Args:
            out: the folder, which must not be there.
            counts: a counts cube, such as `{"file": "counts.fits"}`.
            exposure: an exposure cube, or spacecraft files and effective areas.
            psf: as in a recipe, or a point-spread function.
            energy_edges_gev (E + 1,) [GeV]: edges among those of the cube, between which bins are added up; or all.
            base: folder that names of files are relative to.
            keys: others of a recipe (docs/data.md): `name` (by default that of the folder), `region`, `pixels`, ...

        Raises:
            InputError: an unknown key, or a recipe that cannot be followed; nothing is left behind.
        """
        keys |= {"counts": counts, "exposure": exposure, "psf": psf}
        if energy_edges_gev is not None:
            keys["energy_edges_gev"] = np.asarray(energy_edges_gev).tolist()
        return cls._built(out, base, keys)

    @classmethod
    def _built(cls, out: Path | str, base: Path | str, keys: dict[str, Any]) -> Dataset:
        """The dataset of a recipe's keys."""
        from gammasky.engine.sky.recipes import build, recipe_of

        psf = keys["psf"]
        table = psf if isinstance(psf, Mapping) else psf.model_dump(mode="json")
        recipe = recipe_of({"name": Path(out).name} | keys | {"psf": table}, "recipe")
        return cls.open(build(recipe, out, base=base, check=cls.open))

    def plot(self, what: str = "counts", *, energy_bin: int | None = None) -> Figure:
        """A map in Galactic coordinates: the whole sky, or the part of it that the data set has.

        Args:
            what: "counts", "exposure" or the name of a template.
            energy_bin: number of the bin; None: counts added up over the bins, the first bin of anything else.

        Raises:
            InputError: no such map or energy bin.
        """
        from gammasky.engine.sky.dataset_face import plot

        return plot(self, what, energy_bin)

    def __repr__(self) -> str:
        from gammasky.engine.sky.dataset_face import facts

        return f"<Dataset {self.name}: {', '.join(facts(self).values())}>"

    def _repr_html_(self) -> str:
        from gammasky.engine.sky.dataset_face import html

        return html(self)

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.manifest.name

    @property
    def nside(self) -> int | None:
        """HEALPix resolution that every map is brought to; None on a projected grid."""
        return self.manifest.nside

    @property
    def energy_edges_gev(self) -> np.ndarray:
        """Edges of the energy bins (E + 1,) [GeV]."""
        return np.array(self.manifest.energy_edges_gev, dtype=np.float64)

    @property
    def template_names(self) -> list[str]:
        """Names of the templates."""
        return sorted(self.manifest.templates)

    @property
    def mask_names(self) -> list[str]:
        """Names of the masks."""
        return sorted(self.manifest.masks)

    def check_exposure(self, index: np.ndarray) -> None:
        """Refuse an exposure that is not positive at all of the flat indices `index` into its (E, npix) values.

        Raises:
            InputError: names the first such pixel.
        """
        maps.check_values(self.exposure, index, str(self.folder / self.manifest.exposure.file), positive=True)

    def template(self, name: str) -> np.ndarray:
        """The template `name` (E, npix), as in its file: up to a factor; one map serves every energy bin.

        Sub-pixels are averaged, for `unit = "counts"` too: the factor is the model's to set. Where a file has no value
        there is NaN, and bad values stay as they are: `template_at` refuses those that are used.

        Raises:
            InputError: unknown name, or a file that cannot be used.
        """
        if name not in self.manifest.templates:
            raise unknown_name("template", name, self.manifest.templates)
        return self._template(name)[0]

    def has_spectrum(self, name: str) -> bool:
        """Whether the values of the template `name` in different energy bins are in one unit: a cube or a spectrum.

        Raises:
            InputError: as `template`.
        """
        self.template(name)
        return self._template(name)[1]

    def has_own_bins(self, name: str) -> bool:
        """Whether the template `name` has a map of its own for each energy bin, rather than one for all of them.

        Raises:
            InputError: as `template`.
        """
        values = self.template(name)
        return len(values) > 1 and values.strides[0] != 0  # `template_of` repeats a single map without copies

    def _template(self, name: str) -> tuple[np.ndarray, bool]:
        if name not in self._templates:
            entry = self.manifest.templates[name]
            if isinstance(entry, CatalogueTemplate):
                sky = source_maps(self.catalogue(entry.catalogue), self.pixels, self.psfs, self.energy_edges_gev)
                self._templates[name] = sky, True
            else:
                found, label = _read(entry, self.manifest, self.folder, self.checksums)
                self._templates[name] = template_of(found, self.pixels, len(self.counts), label), found.spectral
        return self._templates[name]

    def template_at(self, name: str, index: np.ndarray) -> np.ndarray:
        """Values (n,) of the template `name` at the flat indices `index` (n,) into its (E, npix) values.

        Raises:
            InputError: as `template`, and a value that is negative or not finite.
        """
        sky = self.template(name)
        maps.check_values(sky, index, str(self.folder / self.manifest.template_file(name)))
        return sky.ravel()[index]

    def template_unit(self, name: str) -> str:
        """`counts` (the template includes the exposure) or `intensity` (it does not).

        Raises:
            InputError: unknown name.
        """
        if name not in self.manifest.templates:
            raise unknown_name("template", name, self.manifest.templates)
        return self.manifest.templates[name].unit

    def mask(self, name: str, needed: np.ndarray | None = None) -> np.ndarray:
        """The mask `name` (npix,), True = masked; a pixel of which the file says nothing counts as masked.

        Args:
            name: of the mask.
            needed: numbers of the pixels of which the file must say whether they are masked.

        Raises:
            InputError: unknown name, or a file that cannot be used.
        """
        if name not in self.manifest.masks:
            raise unknown_name("mask", name, self.manifest.masks)
        entry = self.manifest.masks[name]
        found, label = _read(entry, self.manifest, self.folder, self.checksums)
        mask = mask_on(found.values, found.pixels, self.pixels, label, entry.masked_where)
        unknown = 0 if needed is None else int((mask[needed] == maps.NOT_OBSERVED).sum())
        if unknown:
            raise InputError(f"{label}: the mask has no value in {unknown} of the region's pixels; correct the map")
        return mask != 0

    def source_positions(self, name: str) -> np.ndarray:
        """Galactic longitude and latitude (n, 2) [deg] of the sources of the catalogue `name`; as `catalogue`."""
        return self.catalogue(name).positions

    def catalogue(self, name: str) -> Catalogue:
        """The sources of the catalogue `name`.

        Raises:
            InputError: unknown name, or a file that cannot be used.
        """
        if name not in self.manifest.sources:
            raise unknown_name("source catalogue", name, self.manifest.sources)
        table = self.manifest.sources[name]
        content = _content(table.file, self.manifest, self.folder, self.checksums)
        return Catalogue.read(content, str(self.folder / table.file), table)

    def with_psf(self, psf: PSF) -> Dataset:
        """Copy the dataset with another point-spread function, for likelihoods and simulations alike."""
        return replace(self, manifest=self.manifest.model_copy(update={"psf": psf}))

    def checksums_of(self, templates: Iterable[str], masks: Iterable[str], catalogues: Iterable[str]) -> dict[str, str]:
        """SHA-256 by file name of counts, exposure and PSF, and of these templates, masks and catalogues.

        Raises:
            InputError: a file that is not there, or is not that of the shipped dataset.
        """
        manifest = self.manifest
        files = [manifest.counts.file, manifest.exposure.file]
        files += [manifest.template_file(name) for name in templates] + [manifest.masks[name].file for name in masks]
        files += [manifest.sources[name].file for name in catalogues]
        if isinstance(manifest.psf, IRFSettings | PSFFile):
            files.append(manifest.psf.file)
        for file in files:
            if _name_of(file) not in self.checksums:
                _content(file, self.manifest, self.folder, self.checksums)
        return {name: self.checksums[name] for name in sorted(map(_name_of, files))}

    @property
    def psf(self) -> PSF:
        """The point-spread function of the first energy bin.

        Raises:
            InputError: its file cannot be used.
        """
        return self.psfs[0]

    @property
    def psfs(self) -> tuple[PSF, ...]:
        """The point-spread function of each energy bin (E).

        Raises:
            InputError: its file cannot be used.
        """
        settings = self.manifest.psf
        if not isinstance(settings, IRFSettings | PSFFile):
            return (settings,) * len(self.counts)
        label = str(self.folder / settings.file)
        content = unpacked(_content(settings.file, self.manifest, self.folder, self.checksums), label)
        if isinstance(settings, PSFFile):
            from gammasky.engine.sky.products import PSFTable

            return PSFTable.read(content, label).in_bins(self.energy_edges_gev, settings.spectral_index)
        from gammasky.engine.sky.irf import king_psf

        return (king_psf(content, label, settings),) * len(self.counts)


def _content(file: str, manifest: Manifest, folder: Path, checksums: dict[str, str]) -> bytes:
    """The bytes of a file of the dataset; its SHA-256 is noted, and is that of the manifest where this has one."""
    content = read_bytes(folder / file)
    digest = hashlib.sha256(content).hexdigest()
    if file in manifest.files and digest != manifest.files[file].sha256:
        raise InputError(
            f"{folder / file}: not the file of dataset '{manifest.name}': SHA-256 is {digest[:12]}..., expected "
            f"{manifest.files[file].sha256[:12]}...; restore it, or describe your own files in a {MANIFEST_NAME}"
        )
    checksums[_name_of(file)] = digest
    return content


def _name_of(file: str) -> str:
    """Name a file as the checksums do: where a folder lies is no part of the data."""
    return Path(file).name if Path(file).is_absolute() else file


def _resolved(manifest: Manifest, counts: Maps, pixels: Pixels, label: str) -> Manifest:
    """The manifest with what the counts say of themselves.

    Raises:
        InputError: nobody says the energies.
    """
    edges = manifest.energy_edges_gev
    if edges is None and counts.edges_gev is None:
        raise InputError(f"{label}: no energy bins in it; give `energy_edges_gev` of the dataset")
    found = {
        "frame": pixels.frame,
        "nside": pixels.nside if isinstance(pixels, HealpixPixels) else None,
        "energy_edges_gev": tuple((counts.edges_gev if edges is None else np.array(edges)).tolist()),  # type: ignore[union-attr]
    }
    return manifest.model_copy(update=found)


def _read(entry: MapFile, manifest: Manifest, folder: Path, checksums: dict[str, str]) -> tuple[Maps, str]:
    """The maps of one entry of the manifest, and how errors name the file."""
    content, label = _content(entry.file, manifest, folder, checksums), str(folder / entry.file)
    return load_map(content, label, entry, manifest.energy_edges_gev), label
