"""Images on HEALPix: seams, solid angles, what is outside, and what has no value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.sky import Dataset
from tests.engine.sky.conftest import N_PIX, glow, refusal

Folder = Callable[..., Path]
Write = Callable[..., None]
LON, LAT = healpy.pix2ang(8, np.arange(N_PIX), lonlat=True)


def image(path: Path, pixels: np.ndarray, step: float, lon: float = 0.0, **cards: object) -> None:
    """A plate carree image with its centre at b = 0 and, unless cards say otherwise, at this longitude."""
    rows, columns = pixels.shape
    header = fits.Header(
        {
            "CTYPE1": "GLON-CAR", "CRVAL1": lon, "CRPIX1": (columns + 1) / 2, "CDELT1": -step,
            "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CRPIX2": (rows + 1) / 2, "CDELT2": step, **cards,
        }
    )  # fmt: skip
    fits.writeto(path, pixels, header, overwrite=True)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("lon", "cards"), [(0.0, {}), (180.0, {}), (-77.0, {}), (0.0, {"CRPIX1": 0.5}), (0.0, {"CRPIX1": 1000.0})]
)
def test_an_image_of_the_whole_sky_has_no_seam(small_folder: Folder, lon: float, cards: dict[str, object]) -> None:
    """Wherever it begins: its values, which go around with the longitude, are right to the second order of the step."""
    folder = small_folder(glow(projection="car"))
    image(folder / "glow.fits", np.zeros((180, 360)), 1.0, lon, **cards)
    with fits.open(folder / "glow.fits", mode="update") as hdus:
        first = hdus[0].header["CRVAL1"] + (hdus[0].header["CRPIX1"] - 1)
        hdus[0].data[:] = 2 + np.cos(np.deg2rad(first - np.arange(360) - 30))
    fine_lon, _ = healpy.pix2ang(32, np.arange(12 * 32**2), lonlat=True)
    expected = healpy.ud_grade(2 + np.cos(np.deg2rad(fine_lon - 30)), 8)
    np.testing.assert_allclose(Dataset.open(folder).template("glow")[0], expected, atol=1e-4)


@pytest.mark.usefixtures("own_cache")
def test_counts_of_image_pixels_and_intensity(small_folder: Folder) -> None:
    """A constant intensity is cos(b) in counts per image pixel, and both are a constant map."""
    folder = small_folder(glow(projection="car") + glow("counts", file="c.fits", projection="car", unit="counts"))
    lat = np.deg2rad(np.arange(-89.5, 90))[:, None]
    image(folder / "glow.fits", np.full((180, 360), 3.0), 1.0)
    image(folder / "c.fits", np.tile(np.cos(lat), (1, 360)), 1.0, BUNIT="counts")
    dataset = Dataset.open(folder)
    np.testing.assert_allclose(dataset.template("glow"), 3.0, rtol=1e-14)
    counts = dataset.template("counts")[0]
    np.testing.assert_allclose(counts, counts.mean(), rtol=1e-4)


@pytest.mark.usefixtures("own_cache")
def test_outside_an_image_and_no_value_in_it(small_folder: Folder) -> None:
    folder = small_folder(glow(projection="car"))
    pixels = np.ones((80, 80))
    pixels[:20] = np.nan  # b < -20 deg
    image(folder / "glow.fits", pixels, 1.0)
    dataset = Dataset.open(folder)
    sky = dataset.template("glow")[0]
    lon = (LON + 180) % 360 - 180
    assert (sky[(np.abs(lon) > 45) | (np.abs(LAT) > 45)] == 0).all()
    np.testing.assert_allclose(sky[(np.abs(lon) < 35) & (np.abs(LAT - 10) < 20)], 1.0)
    assert np.isnan(sky[(np.abs(lon) < 35) & (np.abs(LAT + 30) < 5)]).all()
    where = np.flatnonzero(np.abs(LAT) < 10)
    np.testing.assert_array_equal(dataset.template_at("glow", where), sky[where])
    assert "glow.fits: values must be finite and not negative where they are used, got nan in pixel" in refusal(
        lambda: dataset.template_at("glow", np.arange(N_PIX))
    )


@pytest.mark.usefixtures("own_cache")
def test_equatorial_images(small_folder: Folder) -> None:
    folder = small_folder(glow(projection="car"))
    lat = np.deg2rad(np.arange(-89.5, 90))[:, None]
    image(folder / "glow.fits", np.tile(2 + np.sin(lat), (1, 360)), 1.0, CTYPE1="RA---CAR", CTYPE2="DEC--CAR")
    sky = Dataset.open(folder).template("glow")[0]
    assert sky[healpy.ang2pix(8, 122.93192, 27.12825, lonlat=True)] == pytest.approx(3.0, abs=0.01)
    assert sky[healpy.ang2pix(8, 302.93192, -27.12825, lonlat=True)] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("cards", "settings", "message"),
    [
        ({"CTYPE1": "X", "CTYPE2": "Y"}, {}, "the header has no celestial WCS"),
        ({"CTYPE2": "GLAT-TAN"}, {}, "the header has no usable WCS (ERROR"),
        ({}, {"ordering": "nested"}, "an image has no `ordering`; leave it out"),
        ({}, {"frame": "equatorial"}, "CTYPE1 is 'GLON-CAR', but in the manifest frame is 'equatorial'"),
        ({"BUNIT": "ct"}, {}, "its unit is 'ct', but in the manifest unit is 'intensity'"),
    ],
)
def test_unusable_images(
    small_folder: Folder, cards: dict[str, object], settings: dict[str, object], message: str
) -> None:
    folder = small_folder(glow(projection="car", **settings))
    image(folder / "glow.fits", np.ones((4, 4)), 1.0, **cards)
    assert f"glow.fits: {message}" in refusal(lambda: Dataset.open(folder).template("glow"))


def test_an_image_is_seen_to_be_one(small_folder: Folder) -> None:
    """Nothing needs to be said of it; where a file has two, the right one does."""
    folder = small_folder(glow() + glow("second", file="two.fits", hdu=1) + glow("either", file="two.fits"))
    image(folder / "glow.fits", np.ones((180, 360)), 1.0)
    with fits.open(folder / "glow.fits") as hdus:
        more = fits.ImageHDU(3 * hdus[0].data, hdus[0].header, name="MORE")
        fits.HDUList([hdus[0], more]).writeto(folder / "two.fits")
    dataset = Dataset.open(folder)
    np.testing.assert_allclose(dataset.template("glow"), 1.0, rtol=1e-14)
    np.testing.assert_allclose(dataset.template("second"), 3.0, rtol=1e-14)
    assert (
        "two.fits: several extensions with pixels, 0 (PRIMARY), 1 (MORE); name that of the map with `hdu`"
        in refusal(lambda: dataset.template("either"))
    )


@pytest.mark.usefixtures("own_cache")
def test_an_image_with_a_keyword_for_integers(small_folder: Folder) -> None:
    folder = small_folder(glow(projection="car"))
    image(folder / "glow.fits", np.ones((180, 360)), 1.0)
    content = (folder / "glow.fits").read_bytes()
    end = content.index(b"END" + b" " * 77)
    cards = b"BLANK   =               -32768".ljust(80) + b"END".ljust(80)
    (folder / "glow.fits").write_bytes(content[:end] + cards + content[end + 160 :])
    np.testing.assert_allclose(Dataset.open(folder).template("glow"), 1.0, rtol=1e-14)
