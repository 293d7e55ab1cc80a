"""The two profiles against the public Fermi templates, in the paper's region of interest and up to normalisation.

The templates are maps of counts at nside 128: divided by the exposure they are line-of-sight integrals. They were made
with the Sun at 8.5 kpc (8.224 kpc is off by 0.5 %). The disks are exp(-R / 5 kpc) exp(-|z| / z_s), i.e. C = 8.5 / 5
and B = 0, summed in steps of 0.02 kpc with the full first step counted at the Sun: half a step, 0.01 kpc of the local
density (1 in our units), too much in every direction. With that constant they agree to 1e-5, without it to 1 %.
"""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest

from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared

pytestmark = pytest.mark.data
MAP_SUN_KPC, MAP_C, HALF_STEP_KPC = 8.5, 1.7, 0.01


@pytest.fixture(scope="module")
def region(fermi_dir: Path) -> tuple[Path, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Folder, pixel numbers, longitude, latitude and exposure of the region |b| >= 2 deg, psi <= 25 deg."""
    exposure = np.load(fermi_dir / "maps" / "fermidata_exposure.npy")
    lon, lat = healpy.pix2ang(128, np.arange(exposure.size), lonlat=True)
    inside = (np.abs(lat) >= 2) & (np.cos(np.radians(lat)) * np.cos(np.radians(lon)) >= np.cos(np.radians(25)))
    pixels = np.flatnonzero(inside)
    return fermi_dir / "maps", pixels, lon[pixels], lat[pixels], exposure[pixels]


def deviation(found: np.ndarray, shipped: np.ndarray) -> float:
    """Largest relative deviation when both have mean 1."""
    return float(np.abs((found / found.mean()) / (shipped / shipped.mean()) - 1.0).max())


def test_the_region_has_few_different_lines_of_sight(region: tuple) -> None:
    _, pixels, lon, lat, _ = region
    assert pixels.size == 8292
    assert DiskSky.build(lon, lat).lon_rad.size == 2092
    assert 2092 <= NFWSky.build(lon, lat).psi_rad.size <= 2095


@pytest.mark.parametrize(("name", "gamma"), [("template_nfw_g1p0", 1.0), ("template_nfw_g1p2", 1.2)])
def test_nfw_templates(region: tuple, name: str, gamma: float) -> None:
    folder, pixels, lon, lat, exposure = region
    shipped = np.load(folder / f"{name}.npy")[pixels] / exposure
    assert deviation(np.asarray(nfw_squared(gamma, NFWSky.build(lon, lat, sun_kpc=MAP_SUN_KPC))), shipped) < 1e-4
    assert 5e-3 < deviation(np.asarray(nfw_squared(gamma, NFWSky.build(lon, lat))), shipped) < 2e-2


@pytest.mark.parametrize(("name", "zs"), [("template_dsk_z0p3", 0.3), ("template_dsk_z1p0", 1.0)])
def test_disk_templates(region: tuple, name: str, zs: float) -> None:
    folder, pixels, lon, lat, exposure = region
    shipped = np.load(folder / f"{name}.npy")[pixels] / exposure
    found = np.asarray(lorimer_disk(zs, MAP_C, 0.0, DiskSky.build(lon, lat, sun_kpc=MAP_SUN_KPC)))
    assert deviation(found + HALF_STEP_KPC, shipped) < 5e-5
    assert 1e-3 < deviation(found, shipped) < 1e-2
