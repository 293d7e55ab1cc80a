"""Templates with a spectrum: the counts of different bins are to each other as intensity times exposure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel
from gammasky.engine.model.spec import model_from_table
from gammasky.engine.sky import Dataset
from tests.engine.sky.conftest import refusal
from tests.engine.sky.products.conftest import ebounds, energies, skymap, write

MANIFEST = """
name = "cubes"
counts = { file = "counts.fits" }
exposure = { file = "exposure.fits" }
psf = { kind = "gaussian", sigma_deg = 0.5 }
[templates]
iso = { file = "iso.txt", unit = "intensity" }
cube = { file = "cube.fits", unit = "intensity" }
plain = { file = "plain.npy", unit = "intensity" }
"""
SMOOTH = {"name": "smooth", "norm": "S"}
MODEL: dict[str, Any] = {
    "name": "cubes",
    "region": {"latitude_min": 10.0, "exposure_regions": 1},
    "parameters": {"S": {"prior": "uniform", "low": 0.1, "high": 9.0}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bins 1-3 and 3-10 GeV, equatorial pixels; an exposure that rises with energy, twice as high in one half."""
    place = tmp_path_factory.mktemp("cubes")
    half = np.where(np.arange(192) < 96, 1.0, 2.0)
    exposure = 1e11 * np.array([1.0, 3.0, 10.0])[:, None] * half
    counts = np.random.default_rng(2).poisson(3.0, (2, 192))
    write(place / "counts.fits", skymap(counts, COORDSYS="EQU"), ebounds())
    write(place / "exposure.fits", skymap(exposure, name="HPXEXPOSURES", COORDSYS="EQU"), energies())
    e = np.array([1e3, 3e3, 1e4])
    (place / "iso.txt").write_text("".join(f"{energy} {1e-7 * (energy / 1e3) ** -3.0}\n" for energy in e.tolist()))
    sky = 1.0 + np.arange(192) % 3
    write(place / "cube.fits", skymap(1e-8 * e[:, None] ** -2.0 * sky, COORDSYS="EQU", column="E"), energies())
    np.save(place / "plain.npy", np.full(192, 5.0))
    (place / "dataset.toml").write_text(MANIFEST)
    return place


def values(folder: Path, template: str, **more: Any) -> tuple[SkyModel, np.ndarray]:
    component = {**SMOOTH, "template": template, **more}
    model = SkyModel(model_from_table(MODEL | {"components": [component]}), Dataset.open(folder))
    (maps,) = (values for key, values in model.expectation.arrays["templates"].items() if key.startswith("map:"))
    return model, np.asarray(maps)


def test_bins_are_to_each_other_as_intensity_times_exposure(folder: Path) -> None:
    """Exposure E, spectra E^-3 and E^-2: bin means of the exposure with E^-2, which is its own default weight."""
    half = np.where(np.arange(192) < 96, 1.0, 2.0)
    mean_exposure = [np.log(3) / (1 - 1 / 3), np.log(10 / 3) / (1 / 3 - 1 / 10)]
    integrals = {"iso": [1 / 2 * (1 - 1 / 9), 1 / 2 * (1 / 9 - 1 / 100)], "cube": [1 - 1 / 3, 1 / 3 - 1 / 10]}
    for name, integral in integrals.items():
        model, found = values(folder, name)
        pixel, energy_bin = model.pixels.pixel, model.pixels.energy_bin
        expected = np.array(integral)[energy_bin] * np.array(mean_exposure)[energy_bin] * half[pixel]
        expected = expected * (1.0 + pixel % 3 if name == "cube" else 1.0)
        np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-6)


def test_a_map_without_a_spectrum_needs_one_or_a_norm_for_each_bin(folder: Path) -> None:
    with pytest.raises(InputError, match="template 'plain' is one for 2 energy bins; give the component a spectrum"):
        values(folder, "plain")
    model, found = values(folder, "plain", norm={"per_bin": ["S", 2.0]})
    first, second = (found[model.pixels.energy_bin == number].mean() for number in (0, 1))
    assert first == pytest.approx(second, rel=1e-12)


def test_cubes_are_intensities(folder: Path) -> None:
    text = (folder / "dataset.toml").read_text()
    for name in ("iso", "cube"):
        changed = text.replace(f'"{"iso.txt" if name == "iso" else "cube.fits"}", unit = "intensity"',
                               f'"{"iso.txt" if name == "iso" else "cube.fits"}", unit = "counts"')  # fmt: skip
        assert changed != text
        (folder / "other.toml").write_text(changed)
        assert "but in the manifest unit is 'counts'" in refusal(
            lambda name=name: Dataset.open(folder / "other.toml").template(name)
        )


def test_zero_exposure_in_the_region_is_refused(folder: Path, tmp_path: Path) -> None:
    exposure = np.full((3, 192), 1e11)
    exposure[:, 0] = 0.0
    write(tmp_path / "e.fits", skymap(exposure, name="HPXEXPOSURES", COORDSYS="EQU"), energies())
    text = (folder / "dataset.toml").read_text().replace('"exposure.fits"', f'"{tmp_path / "e.fits"}"')
    (folder / "zero.toml").write_text(text)
    model = model_from_table(MODEL | {"region": {}, "components": [{**SMOOTH, "template": "iso"}]})
    assert "e.fits: values must be finite and positive where they are used, got 0 in energy bin 0, pixel 0" in refusal(
        lambda: SkyModel(model, Dataset.open(folder / "zero.toml"))
    )
