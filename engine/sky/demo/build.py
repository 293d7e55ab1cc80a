"""Make the files of the demo sky: templates, mask and exposure, and the counts simulated from them at the truth."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.demo import ENERGY_SEED, SEED, SUMS_NAME
from gammasky.engine.sky.demo.energy import energy_counts
from gammasky.engine.sky.demo.expectation import SOURCE_GRID, expectation
from gammasky.engine.sky.demo.shapes import BIN_EXPOSURES, EXPOSURE_CM2_S, bulge_maps, diffuse_maps, relative_exposure
from gammasky.engine.sky.demo.sources import source_map, source_mask
from gammasky.engine.sky.manifest import MANIFEST_NAME, Manifest, read_manifest
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.psf import KingPSF
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation

#: the region of analyses/fiducial.toml, over which the norms of the truth are means
REGION = RegionOfInterest(latitude_min=2.0, radius_max=25.0, mask="3fgl_0p8deg", exposure_regions=7)


def write_demo(folder: Path, manifest_file: Path) -> None:
    """Write the maps, the manifest and their checksums into the empty folder `folder`.

    Args:
        folder: it must be there.
        manifest_file: demo.toml.

    Raises:
        OSError: it cannot be written to.
    """
    manifest = read_manifest(manifest_file)
    shutil.copyfile(manifest_file, folder / MANIFEST_NAME)
    for file, values in _fixed_maps(folder / MANIFEST_NAME).items():
        np.save(folder / file, values, allow_pickle=False)
    empty = np.zeros((_n_bins(manifest), 12 * _nside(manifest) ** 2), dtype=np.int64)
    np.save(folder / manifest.counts.file, empty[0] if len(empty) == 1 else empty, allow_pickle=False)
    np.save(folder / manifest.counts.file, simulated_counts(Dataset.open(folder)), allow_pickle=False)
    files = sorted(path for path in folder.iterdir())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / SUMS_NAME).write_text("".join(lines), encoding="ascii")


def whole_sky(dataset: Dataset) -> Observation:
    """Every pixel of the sphere: those of the region first, in the order in which a model has them."""
    return REGION.flatten(dataset, around_deg=180.0)


def simulated_counts(dataset: Dataset, seed: int | None = None) -> np.ndarray:
    """Photons int64 of the whole sphere at the truth of the manifest: (npix,), or (E, npix) in several bins."""
    if len(dataset.counts) > 1:
        return energy_counts(dataset, REGION, ENERGY_SEED if seed is None else seed)
    pixels = whole_sky(dataset)
    expected = expectation(dataset, pixels, dataset.manifest.truth)
    populations = [
        SourcePopulation.from_template(name, template, SOURCE_GRID, expected.dnds[name])
        for name, template in expected.templates.items()
    ]
    # photons are counted in the first `n_region` pixels: here everywhere, the norms being fixed by now
    everywhere = replace(pixels, n_region=pixels.n_pixels)
    counts = np.empty(pixels.n_pixels, dtype=np.int64)
    counts[pixels.index] = SkySimulator(everywhere).draw(
        expected.mean, populations, n=1, seed=SEED if seed is None else seed
    )[0]
    return counts


def _fixed_maps(manifest_file: Path) -> dict[str, np.ndarray]:
    """Every map but the counts, by file name."""
    manifest = read_manifest(manifest_file)
    nside, psf = _nside(manifest), KingPSF.model_validate(manifest.psf)
    exposure = relative_exposure(nside)
    seen = {**diffuse_maps(nside, psf), "psc_3fgl": source_map(nside, psf)}
    templates = {**{name: values * exposure for name, values in seen.items()}, **bulge_maps(nside)}
    found = {manifest.template_file(name): templates[name] for name in manifest.templates}
    several = np.array(BIN_EXPOSURES)[:, None] if _n_bins(manifest) > 1 else 1.0
    found[manifest.exposure.file] = EXPOSURE_CM2_S * several * exposure
    found[manifest.masks["3fgl_0p8deg"].file] = source_mask(nside)
    return found


def _n_bins(manifest: Manifest) -> int:
    """Number of energy bins, which its manifest says."""
    assert manifest.energy_edges_gev is not None
    return len(manifest.energy_edges_gev) - 1


def _nside(manifest: Manifest) -> int:
    """Resolution of the demo, which its manifest says."""
    assert manifest.nside is not None
    return manifest.nside
