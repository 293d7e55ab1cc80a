"""Pixels of an image with celestial coordinates (a FITS WCS), row by row."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.pixels.frames import Frame, in_frame, lonlat_of, rotated

CYLINDRICAL = ("CAR", "CEA", "MER", "CYP")  # projections whose columns are at equal steps of longitude
FRAMES: dict[str, Frame] = {"GLON": "galactic", "RA--": "equatorial"}


@dataclass(frozen=True, eq=False)
class ProjectedPixels:
    """The pixels of an image of `shape` (rows, columns); pixel number row * columns + column.

    Pixels whose centre is outside the projection (the corners of an all-sky AIT image) have no position: NaN.

    Args:
        wcs: celestial coordinates, as astropy's.
        shape: rows and columns.
    """

    wcs: Any
    shape: tuple[int, int]

    @classmethod
    def of_header(cls, header: Any, shape: tuple[int, int], label: str) -> ProjectedPixels:
        """The pixels that the header of a FITS image describes.

        Raises:
            InputError: no usable celestial coordinates, or a frame that is neither Galactic nor ICRS / FK5 J2000.
        """
        wcs = celestial_wcs(header, label)
        kind = wcs.wcs.ctype[0]
        if kind[:4] not in FRAMES or (kind.startswith("RA") and wcs.wcs.radesys not in ("", "ICRS", "FK5")):
            got = f"CTYPE1 '{kind}'" + (f", RADESYS '{wcs.wcs.radesys}'" if kind.startswith("RA") else "")
            raise InputError(f"{label}: expected Galactic or equatorial (ICRS, FK5) coordinates, got {got}")
        return cls(wcs, shape)

    @property
    def frame(self) -> Frame:
        """Frame of the coordinates."""
        return FRAMES[self.wcs.wcs.ctype[0][:4]]

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def projection(self) -> str:
        """Three letters, such as CAR."""
        return str(self.wcs.wcs.ctype[0][-3:])

    @property
    def spacing_deg(self) -> float:
        """Square root of the solid angle of a pixel at the reference point [deg]."""
        return float(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix))))

    @property
    def key(self) -> int | str:
        """What tells them from all others, the same on every machine."""
        wcs = self.wcs.wcs
        numbers = (wcs.crpix, wcs.crval, self.wcs.pixel_scale_matrix, wcs.lonpole, wcs.latpole, wcs.get_pv())
        return repr([self.shape, *wcs.ctype, *(np.asarray(part).round(12).tolist() for part in numbers)])

    @property
    def name(self) -> str:
        """What they are, in words."""
        rows, columns = self.shape
        return f"{self.projection} {columns} x {rows} pixels of {self.spacing_deg:.4g} deg, {self.frame}"

    def own_centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude [deg] of the centres, in the frame of the pixels."""
        return self._world(*np.indices(self.shape)[::-1])

    @cached_property
    def galactic(self) -> tuple[np.ndarray, np.ndarray]:
        """Galactic longitude in (-180, 180] and latitude [deg] of the centres."""
        return in_frame(*self.own_centres(), self.frame, "galactic")

    @cached_property
    def solid_angle_sr(self) -> np.ndarray:
        """Solid angle of each pixel (n_pixels,) [sr], NaN outside the projection.

        Half the cross product of the diagonals: good to 1e-5 for pixels of a degree.
        """
        rows, columns = np.indices((self.shape[0] + 1, self.shape[1] + 1)) - 0.5
        lon, lat = np.deg2rad(self._world(columns, rows)).reshape(2, *rows.shape)
        corner = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
        diagonals = corner[1:, 1:] - corner[:-1, :-1], corner[1:, :-1] - corner[:-1, 1:]
        return np.asarray(np.linalg.norm(np.cross(*diagonals), axis=-1).ravel() / 2)

    def parts(self, divide: int) -> tuple[np.ndarray, np.ndarray]:
        """Galactic positions [deg], (n_pixels, divide^2) each, of equal parts of every pixel."""
        step = (np.arange(divide) + 0.5) / divide - 0.5
        rows, columns = (part.reshape(-1, 1) for part in np.indices(self.shape))
        y, x = (part.ravel() for part in np.meshgrid(step, step, indexing="ij"))
        lon, lat = self._world(columns + x, rows + y)
        shape = (self.n_pixels, divide**2)
        lon, lat = in_frame(lon, lat, self.frame, "galactic")
        return lon.reshape(shape), lat.reshape(shape)

    def find(self, vectors: np.ndarray, frame: Frame = "galactic") -> np.ndarray:
        """The pixel (...) that holds each direction (..., 3), which is given in `frame`; -1 where none does."""
        return self.find_own(*lonlat_of(rotated(vectors, frame, self.frame)))

    def find_own(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """The pixel (...) that holds each position [deg] of the frame of the pixels; -1 where none does."""
        x, y = self.place(lon_deg, lat_deg)
        with np.errstate(invalid="ignore"):
            column, row = np.floor(x + 0.5), np.floor(y + 0.5)
            inside = (column >= 0) & (column < self.shape[1]) & (row >= 0) & (row < self.shape[0])
        return np.where(inside, np.where(inside, row, 0) * self.shape[1] + np.where(inside, column, 0), -1).astype(int)

    def place(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row (fractional, 0 at the centre of the first pixel) of positions in the frame of the pixels.

        NaN on the far side of a projection that shows one side only. Where the columns of a cylindrical projection go
        on around the sky, the column is the one inside the image, if any is.
        """
        lon, lat = np.asarray(lon_deg, dtype=np.float64), np.asarray(lat_deg, dtype=np.float64)
        x, y = self.wcs.wcs_world2pix(lon.ravel(), lat.ravel(), 0)
        if self._turn is not None:
            x = (x + 0.5) % self._turn - 0.5
        return x.reshape(lon.shape), y.reshape(lon.shape)

    def at(self, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n,) [deg], in the frame of the pixels, at columns and rows (n,); NaN where there is none."""
        return self._world(column, row)

    def steps(
        self, lon_deg: np.ndarray, lat_deg: np.ndarray, column: np.ndarray, row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many columns and rows the pixels of positions are from a pixel, the shorter way around the sky.

        The grid goes on beyond its edges; NaN where the projection does not.
        """
        x, y = self.place(lon_deg, lat_deg)
        across = np.floor(x + 0.5) - column
        if self._turn is not None:
            across = (across + self._turn / 2) % self._turn - self._turn / 2
        return across, np.floor(y + 0.5) - row

    def interpolate(self, sky: np.ndarray, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """Values (...) of a map (n_pixels,) at Galactic positions [deg], bilinear; NaN outside the image."""
        from scipy.ndimage import map_coordinates

        image = np.asarray(sky, dtype=np.float64).reshape(self.shape)
        x, y = self.place(*in_frame(lon_deg, lat_deg, "galactic", self.frame))
        inside, columns = self._inside(x, y), self.shape[1]
        if self._turn is not None and abs(columns - self._turn) < 1e-3:
            image, x = np.pad(image, ((0, 0), (1, 1)), mode="wrap"), x + 1  # across the seam of longitudes
        values = np.full(np.shape(x), np.nan)
        values[inside] = map_coordinates(image, [y[inside], x[inside]], order=1, mode="nearest")
        return values

    def covers(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """Whether the image reaches over each Galactic position [deg]."""
        return self._inside(*self.place(*in_frame(lon_deg, lat_deg, "galactic", self.frame)))

    def _inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows, columns = self.shape
        with np.errstate(invalid="ignore"):
            return (np.abs(x - (columns - 1) / 2) <= columns / 2) & (np.abs(y - (rows - 1) / 2) <= rows / 2)

    def _world(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n,) [deg] at columns x and rows y, NaN where a column and row is no place of the sky."""
        x, y = (np.asarray(part, dtype=np.float64).ravel() for part in (x, y))
        lon, lat = self.wcs.wcs_pix2world(x, y, 0)
        back_x, back_y = self.wcs.wcs_world2pix(lon, lat, 0)
        across = back_x - x if self._turn is None else (back_x - x + self._turn / 2) % self._turn - self._turn / 2
        there = np.hypot(across, back_y - y) < 1e-3
        return np.where(there, lon, np.nan), np.where(there, lat, np.nan)

    @property
    def _turn(self) -> float | None:
        """Columns of one turn around the sky, where the columns are at equal steps of longitude."""
        matrix = self.wcs.pixel_scale_matrix
        if self.projection not in CYLINDRICAL or matrix[0, 1]:
            return None
        return 360.0 / abs(float(matrix[0, 0]))


def celestial_wcs(header: Any, label: str) -> Any:
    """The celestial coordinates of a FITS header, as astropy's WCS.

    Raises:
        InputError: a header that has none.
    """
    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # such as of keywords that were renamed since
        try:
            wcs = WCS(header)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{label}: the header has no usable WCS ({reason}); correct it") from None
    if not wcs.has_celestial:
        raise InputError(f"{label}: the header has no celestial WCS; expected CTYPE1/2 such as GLON-CAR, GLAT-CAR")
    return wcs.celestial
