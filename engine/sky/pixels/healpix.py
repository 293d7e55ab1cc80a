"""HEALPix pixels, RING order, with their poles in either frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.pixels.frames import Frame, in_frame, rotated


@dataclass(frozen=True)
class HealpixPixels:
    """All 12 nside^2 pixels of the sphere.

    Args:
        nside: a power of 2 up to 8192.
        frame: of the poles of the pixels; positions are Galactic wherever no frame is named.

    Raises:
        InputError: an nside that is none.
    """

    nside: int
    frame: Frame = "galactic"

    def __post_init__(self) -> None:
        nside = self.nside
        if not isinstance(nside, int | np.integer) or not 1 <= nside <= 8192 or nside & (nside - 1):
            raise InputError(f"nside: expected a power of 2 from 1 to 8192, got {nside!r}")

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return 12 * self.nside**2

    @property
    def solid_angle_sr(self) -> np.ndarray:
        """Solid angle of each pixel (n_pixels,) [sr]: all alike."""
        return np.full(self.n_pixels, np.pi / (3 * self.nside**2))

    @property
    def spacing_deg(self) -> float:
        """Square root of a pixel's solid angle [deg]."""
        return float(np.rad2deg(np.sqrt(np.pi / 3) / self.nside))

    @property
    def key(self) -> int | str:
        """What tells them from all others, the same on every machine."""
        return self.nside if self.frame == "galactic" else f"nside {self.nside}, {self.frame}"

    @property
    def name(self) -> str:
        """What they are, in words."""
        return f"HEALPix nside {self.nside}, {self.frame}"

    def own_centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude (0 to 360) and latitude [deg] of the centres, in the frame of the pixels."""
        import healpy

        lon, lat = healpy.pix2ang(self.nside, np.arange(self.n_pixels), lonlat=True)
        return lon, lat

    @cached_property
    def galactic(self) -> tuple[np.ndarray, np.ndarray]:
        """Galactic longitude in (-180, 180] and latitude [deg] of the centres."""
        lon, lat = self.own_centres()
        if self.frame == "galactic":
            return np.where(lon > 180, lon - 360, lon), lat
        return in_frame(lon, lat, self.frame, "galactic")

    def parts(self, divide: int) -> tuple[np.ndarray, np.ndarray]:
        """Galactic positions [deg], (n_pixels, divide^2) each, of equal parts of every pixel; `divide` a power of 2."""
        import healpy

        fine = self.nside * divide
        nested = healpy.ring2nest(self.nside, np.arange(self.n_pixels))[:, None] * divide**2 + np.arange(divide**2)
        lon, lat = healpy.pix2ang(fine, nested, nest=True, lonlat=True)
        return in_frame(lon, lat, self.frame, "galactic")

    def find(self, vectors: np.ndarray, frame: Frame = "galactic") -> np.ndarray:
        """The pixel (...) that holds each direction (..., 3), which is given in `frame`."""
        import healpy

        own = rotated(vectors, frame, self.frame)
        return np.asarray(healpy.vec2pix(self.nside, own[..., 0], own[..., 1], own[..., 2]), dtype=np.int64)

    def find_own(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """The pixel (...) that holds each position [deg], which is given in the frame of the pixels."""
        import healpy

        return np.asarray(healpy.ang2pix(self.nside, lon_deg, lat_deg, lonlat=True), dtype=np.int64)

    def interpolate(self, sky: np.ndarray, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """Values (...) of a map (n_pixels,) at Galactic positions [deg], between the four nearest centres."""
        import healpy

        lon, lat = in_frame(lon_deg, lat_deg, "galactic", self.frame)
        return np.asarray(healpy.get_interp_val(sky, lon, lat, lonlat=True))
