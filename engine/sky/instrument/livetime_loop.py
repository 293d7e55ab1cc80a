"""Adding up livetime by direction and inclination: the inner loop of the exposure."""

from __future__ import annotations

import numpy as np
from numba import njit

from gammasky.engine.kernels.policy import COMPILE


@njit(**COMPILE)
def add_livetime(
    direction: np.ndarray, centre: np.ndarray, reach: float, z: np.ndarray, x: np.ndarray, zenith: np.ndarray,
    weight: np.ndarray, fraction: np.ndarray, limits: np.ndarray, n_bins: int, seconds: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Add the livetime of every row to the directions of one block of the sky.

    Args:
        direction (3, p): unit vectors of the block; `centre` (3,), `reach` [rad]: a cap that holds them.
        z, zenith (n, 3): axis of the instrument and zenith, of every row; x (n, 3): its second axis, looked at only
            where azimuths are wanted.
        weight (n,) [s]: livetime; fraction (n,): livetime over duration.
        limits (2,): smallest cos(inclination), largest zenith angle [rad].
        n_bins: bins of sqrt(1 - cos(inclination)) from 0 to 1.
        seconds (p, B, X): incremented by the livetime in each bin of inclination and of the azimuth, whose bins are
            uniform in the tangent of the angle to the nearest axis, from 1 to 0; X = 0: not wanted.
        sums (p, B, 3): incremented by the livetime, by livetime times fraction, and by livetime times cos(inclination).
    """
    n_pix, last, n_xi = direction.shape[1], sums.shape[1] - 1, seconds.shape[2]
    cosine, place = np.empty(n_pix), np.empty(n_pix, dtype=np.int64)
    cos_min, cos_zenith = limits[0], np.cos(limits[1])
    far = np.cos(min(np.arccos(cos_min) + reach, np.pi))  # beyond this the whole block is out of view
    hidden = -2.0 if limits[1] >= np.pi else np.cos(min(limits[1] + reach, np.pi))
    clear = -2.0 if limits[1] >= np.pi else np.cos(max(limits[1] - reach, 0.0))
    for row in range(len(weight)):
        z0, z1, z2 = z[row, 0], z[row, 1], z[row, 2]
        h0, h1, h2 = zenith[row, 0], zenith[row, 1], zenith[row, 2]
        up = centre[0] * h0 + centre[1] * h1 + centre[2] * h2
        if centre[0] * z0 + centre[1] * z1 + centre[2] * z2 < far or up < hidden:
            continue
        for p in range(n_pix):
            cosine[p] = direction[0, p] * z0 + direction[1, p] * z1 + direction[2, p] * z2
        if up < clear:
            for p in range(n_pix):
                above = direction[0, p] * h0 + direction[1, p] * h1 + direction[2, p] * h2
                cosine[p] = cosine[p] if above >= cos_zenith else -1.0
        for p in range(n_pix):
            place[p] = int(np.sqrt(max(1.0 - cosine[p], 0.0)) * n_bins)
        w, v = weight[row], weight[row] * fraction[row]
        for p in range(n_pix):
            if cosine[p] >= cos_min:
                b = min(place[p], last)
                sums[p, b, 0] += w
                sums[p, b, 1] += v
                sums[p, b, 2] += w * cosine[p]
        if n_xi:
            x0, x1, x2 = x[row, 0], x[row, 1], x[row, 2]
            y0, y1, y2 = z1 * x2 - z2 * x1, z2 * x0 - z0 * x2, z0 * x1 - z1 * x0
            for p in range(n_pix):
                if cosine[p] >= cos_min:
                    along = direction[0, p] * x0 + direction[1, p] * x1 + direction[2, p] * x2
                    across = direction[0, p] * y0 + direction[1, p] * y1 + direction[2, p] * y2
                    most = max(abs(along), abs(across))
                    tangent = min(abs(along), abs(across)) / most if most > 0.0 else 0.0  # of the angle to an axis
                    seconds[p, min(place[p], last), n_xi - 1 - min(int(tangent * n_xi), n_xi - 1)] += w
