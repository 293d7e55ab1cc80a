"""Lines of sight through a bar, laid out once: directions, the frame of the Sun, quadrature on one panel.

The density of a bar has kinks where a line of sight crosses the planes X' = 0 and Y' = 0 of its axes and the cylinder
where the cut-off begins. These points move with the parameters, so panels are cut there anew at every evaluation, and
on each panel the distance is a smooth step of the quadrature's variable, s = s_0 + (s_1 - s_0) (3 t^2 - 2 t^3): an end
where the integrand goes like |s - s_0|^c looks like t^(2 c + 1) to Gauss-Legendre, and t^(2 c - 1) by the angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.kernels.bar.grid import Grid
from gammasky.engine.kernels.bar.quadrature import LANES, smooth_step
from gammasky.engine.kernels.profiles.geometry import PixelGroups, _directions, _require_lengths

Floats = NDArray[np.float64]

NODES = 40  # on each panel of a line of sight
PARAMETERS = ("angle", "log_x", "log_y", "log_z", "c_perp", "c_par", "cut_radius", "cut_width")
#: How the density falls with r_s, the radius in units of the scale lengths.
FALLOFFS = ("sech2", "exponential", "gaussian", "bessel_k0")


@dataclass(frozen=True, eq=False)
class BarSky:
    """Fixed geometry of `triaxial_bar` for N pixels with U different lines of sight.

    Args:
        lon_rad, lat_rad (U,) [rad]: of the lines; |b| where the model is the same on both sides of the plane.
        groups: which pixels share them.
        directions (blocks, 4 LANES): cos l, sin l, cos b, sin b of the LANES lines of a block; in the last block the
            last line is repeated.
        step (2, NODES): p(t) and its quadrature weight, for a panel of length 1.
        frame (4,): distance and height of the Sun [kpc], cosine and sine of the bar's pitch.
        falloff: number of the profile in FALLOFFS.
        grid: between whose lines of sight the map is interpolated; None where each pixel's own is integrated along.
    """

    lon_rad: Floats
    lat_rad: Floats
    groups: PixelGroups
    directions: Floats
    step: Floats
    frame: Floats
    falloff: int
    grid: Grid | None

    @property
    def n_pixels(self) -> int:
        return self.groups.inverse.size

    @property
    def n_blocks(self) -> int:
        return len(self.directions)

    @classmethod
    def build(
        cls,
        lon_deg: ArrayLike,
        lat_deg: ArrayLike,
        *,
        falloff: str = "sech2",
        sun_kpc: float = 8.224,
        sun_height_kpc: float = 0.0,
        pitch_deg: float = 0.0,
    ) -> BarSky:
        """Lay out the lines of sight of pixels at Galactic longitude and latitude.

        Args:
            lon_deg, lat_deg (N,) [deg]: pixel centres.
            falloff: one of FALLOFFS.
            sun_kpc, sun_height_kpc [kpc]: distance of the Sun from the Galactic Centre, and height above the plane.
            pitch_deg [deg]: how far the bar's near end is tilted above the plane.

        Raises:
            InputError: a direction, length or profile that cannot be used.
        """
        if falloff not in FALLOFFS:
            raise unknown_name("falloff of a bar", falloff, FALLOFFS)
        lon, lat = _directions("BarSky", lon_deg, lat_deg)
        _require_lengths("BarSky", sun_kpc=sun_kpc)
        if not (np.isfinite(sun_height_kpc) and np.isfinite(pitch_deg)):
            raise InputError(
                f"BarSky: expected a finite height and pitch, got {sun_height_kpc} kpc and {pitch_deg} deg"
            )
        mirrored = sun_height_kpc == 0 and pitch_deg == 0
        lines = np.stack([np.remainder(lon + np.pi, 2 * np.pi) - np.pi, np.abs(lat) if mirrored else lat], axis=1)
        _, first, inverse = np.unique(lines.round(12), axis=0, return_index=True, return_inverse=True)
        lon_rad, lat_rad = lines[first].T
        padded = np.pad(lines[first], ((0, -first.size % LANES), (0, 0)), mode="edge")
        l, b = padded.reshape(-1, LANES, 2).transpose(2, 0, 1)  # noqa: E741
        pitch = np.radians(pitch_deg)
        return cls(
            lon_rad,
            lat_rad,
            PixelGroups.of(inverse.reshape(-1), first.size),
            np.stack([np.cos(l), np.sin(l), np.cos(b), np.sin(b)], axis=1).reshape(-1, 4 * LANES),
            smooth_step(NODES),
            np.array([sun_kpc, sun_height_kpc, np.cos(pitch), np.sin(pitch)]),
            FALLOFFS.index(falloff),
            Grid.of(lon_rad, lat_rad) if mirrored else None,
        )
