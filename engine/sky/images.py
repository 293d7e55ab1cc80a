"""Images with celestial coordinates (FITS with a WCS), brought to HEALPix."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.fits_files import fits_extension
from gammasky.engine.sky.manifest import MapFile, TemplateMap
from gammasky.engine.sky.maps import change_nside
from gammasky.engine.sky.pixels.projected import celestial_wcs
from gammasky.engine.sky.statements import contradiction, unit_factor

OVERSAMPLING = 4  # an image is interpolated at this multiple of the working nside, then averaged
CYLINDRICAL = ("CAR", "CEA", "MER", "CYP")  # projections whose columns are at equal steps of longitude


def load_image(content: bytes, label: str, entry: MapFile, nside: int) -> np.ndarray:
    """An image as a HEALPix map (1, pixels): bilinear at 4 x nside, averaged down.

    Outside the image the map is 0; where the image has no finite value the map has NaN. A template in counts is taken
    as counts per image pixel: it is divided by the solid angles of these, since those of HEALPix pixels are all alike.

    Raises:
        InputError: truncated file, no image, or a header that has no celestial coordinates or contradicts the manifest.
    """
    image = fits_extension(content, label, entry.hdu or 0)
    if image.data is None or image.data.ndim != 2:
        raise InputError(f"{label}: extension {entry.hdu or 0!r} holds no two-dimensional image; set `hdu`")
    factor = unit_factor(entry, image.header.get("BUNIT"), label)
    wcs = celestial_wcs(image.header, label)
    frame = "galactic" if wcs.wcs.ctype[0].startswith("GLON") else "equatorial"
    if entry.frame not in (None, frame):
        raise contradiction(label, f"CTYPE1 is '{wcs.wcs.ctype[0]}'", f"frame is '{entry.frame}'")
    per_pixel = isinstance(entry, TemplateMap) and entry.unit == "counts"
    key = {"sha256": hashlib.sha256(content).hexdigest(), "nside": nside, "hdu": entry.hdu or 0, "per_pixel": per_pixel}

    def make() -> dict[str, np.ndarray]:
        pixels = np.asarray(image.data, dtype=np.float64)
        return {"map": _on_sphere(pixels / _solid_angles(wcs, pixels.shape) if per_pixel else pixels, wcs, nside)}

    return factor * remembered("reprojected", key, make, sound=lambda arrays: set(arrays) == {"map"})["map"]


def _on_sphere(pixels: np.ndarray, wcs: Any, nside: int) -> np.ndarray:
    """The map (1, 12 nside^2) of an image: interpolated between pixel centres, across the seam of longitudes too."""
    import healpy
    from astropy.coordinates import SkyCoord
    from scipy.ndimage import map_coordinates

    fine = OVERSAMPLING * nside
    lon, lat = healpy.pix2ang(fine, np.arange(12 * fine**2), lonlat=True)
    x, y = wcs.world_to_pixel(SkyCoord(lon, lat, unit="deg", frame="galactic"))
    rows, columns = pixels.shape
    matrix = wcs.pixel_scale_matrix
    if wcs.wcs.ctype[0][-3:] in CYLINDRICAL and not matrix[0, 1]:
        circle = 360.0 / abs(matrix[0, 0])  # columns
        x = (x + 0.5) % circle - 0.5
        if abs(columns - circle) < 1e-3:
            pixels, x = np.pad(pixels, ((0, 0), (1, 1)), mode="wrap"), x + 1
    inside = (np.abs(x - (pixels.shape[1] - 1) / 2) <= columns / 2) & (np.abs(y - (rows - 1) / 2) <= rows / 2)
    sky = np.zeros(len(x))
    sky[inside] = map_coordinates(pixels, [y[inside], x[inside]], order=1, mode="nearest")
    return change_nside(sky[None], nside, np.mean)


def _solid_angles(wcs: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Solid angle of every pixel of an image, over that of the largest.

    Half the cross product of the diagonals: good to 1e-5 for pixels of a degree.
    """
    rows, columns = np.indices((shape[0] + 1, shape[1] + 1)) - 0.5
    lon, lat = np.deg2rad(wcs.wcs_pix2world(columns.ravel(), rows.ravel(), 0)).reshape(2, *rows.shape)
    corner = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    area = np.linalg.norm(np.cross(corner[1:, 1:] - corner[:-1, :-1], corner[1:, :-1] - corner[:-1, 1:]), axis=-1)
    return area / np.nanmax(area)
