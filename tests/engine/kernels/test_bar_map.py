"""The bar at the parameters of Freudenreich's model S against the public map of it, pixel by pixel of the image.

The map (Macias et al. 2018) has the bar's near end at positive longitude, the Sun at 8.5 kpc and 16.46 pc above the
plane, a pitch of 0.023 deg and the cut-off in the distance from the Galaxy's axis, and no PSF. Each matters here: the
height of the Sun 7 %, the pitch 0.5 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def image(fermi_dir: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitude, latitude and intensity of the image's pixels with |b| >= 2 deg within 20 deg, where the image is."""
    with fits.open(fermi_dir / "bulge" / "F98_BoxyBulge_arxv1611.06644_Normalized.fits") as hdus:
        values = hdus[0].data.astype(np.float64)
    row, column = np.indices(values.shape)
    lon, lat = -0.2 * (column - 99.5), 0.2 * (row - 99.5)
    inside = (np.abs(lat) >= 2) & (np.hypot(lon, lat) <= 20)
    return lon[inside], lat[inside], values[inside]


def deviation(image: tuple[np.ndarray, np.ndarray, np.ndarray], **frame: float) -> np.ndarray:
    """Relative deviation (pixels,) when both have mean 1."""
    lon, lat, shipped = image
    found = np.asarray(triaxial_bar(*FREUDENREICH_S.values(), BarSky.build(lon, lat, sun_kpc=8.5, **frame)))
    return (found / found.mean()) / (shipped / shipped.mean()) - 1.0


def test_model_s_is_the_shipped_map(image: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    found = deviation(image, sun_height_kpc=0.01646, pitch_deg=0.023)
    assert np.abs(found).max() < 4e-4
    assert found.std() < 2e-4


def test_height_and_pitch_are_in_the_map(image: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert 0.003 < np.abs(deviation(image, sun_height_kpc=0.01646)).max() < 0.007
    assert 0.05 < np.abs(deviation(image)).max() < 0.09
    assert np.abs(deviation(image, sun_height_kpc=-0.01646)).max() > 0.1
