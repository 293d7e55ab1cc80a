"""Livetime by direction and inclination, as the mission's tool has it (`gtltcube`).

Source: the mission's page "Livetime and Exposure" (https://fermi.gsfc.nasa.gov/ssc/data/analysis/documentation/Cicerone/
Cicerone_Data_Exploration/livetime_and_exposure.html). Bins are uniform in sqrt(1 - cos(inclination)), as there; unlike
there, each bin also keeps its mean inclination, at which areas are then taken: their width is of second order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.threads import run_tasks
from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.instrument.livetime_loop import add_livetime
from gammasky.engine.sky.instrument.spacecraft import Spacecraft
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.pixels.frames import Frame, rotated

N_BINS = 40  # of sqrt(1 - cos(inclination)) from 0 to 1
CHUNK = 1 << 18  # rows at a time
BLOCK = 8  # divisions of the side of a block of pixels: 64 pixels
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Livetime:
    """How long each direction of the sky was seen at each inclination.

    Args:
        nside, frame: HEALPix pixels (RING) whose centres are the directions.
        total_s [s]: livetime within the good times, wherever the instrument pointed.
        seconds (npix, B, X) [s]: livetime by inclination and by folded azimuth (X = 1: not kept apart).
        weighted (npix, B) [s]: livetime times the fraction of the time that was livetime.
        cos_theta (npix, B): mean cosine of the inclination in each bin, weighted by livetime.
        cos_min: cosine of the largest inclination.
        zenith_max_deg [deg]: the largest zenith angle.
    """

    nside: int
    frame: Frame
    total_s: float
    seconds: np.ndarray
    weighted: np.ndarray
    cos_theta: np.ndarray
    cos_min: float
    zenith_max_deg: float

    @property
    def xi_edges(self) -> np.ndarray:
        """Edges of the bins of the folded azimuth xi (X + 1,): uniform in the tangent of the angle to an axis."""
        n = self.seconds.shape[2]
        return np.linspace(0.0, 1.0, n + 1) if n == 1 else 1 - 4 / np.pi * np.arctan(np.linspace(1.0, 0.0, n + 1))


def measure_livetime(
    spacecraft: Spacecraft,
    intervals: Intervals,
    *,
    zenith_max_deg: float = 180.0,
    nside: int = 64,
    frame: Frame = "galactic",
    cos_min: float = 0.2,
    azimuth_bins: int = 1,
    wanted: np.ndarray | None = None,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
) -> Livetime:
    """Add up the livetime of all rows, or take it from the cache, where it lies under the content of all that it is of.

    Args:
        spacecraft: the rows.
        intervals: good times.
        zenith_max_deg [deg]: directions farther from the zenith are not seen; the cut of the photons.
        nside: HEALPix resolution of the directions.
        frame: of the pixels.
        cos_min: cosine of the largest inclination; the area of Pass 8 is zero beyond 0.2.
        azimuth_bins: bins of the folded azimuth; 1 where areas are averaged over it.
        wanted (npix,): whether each direction is; others may get no livetime. None: all are.
        progress: called with the parts of the work done, and of all.
        cache_dir: in place of the per-user cache.

    Raises:
        InputError: a setting out of range, good times outside of the rows.
    """
    for name, value, low, high in (("nside", nside, 1, 1024), ("azimuth_bins", azimuth_bins, 1, 100)):
        if not low <= value <= high or (name == "nside" and value & (value - 1)):
            raise InputError(
                f"livetime: {name} must be {'a power of 2 ' * (name == 'nside')}from {low} to {high}, got {value}"
            )
    if not 0 < zenith_max_deg <= 180 or not 0 <= cos_min < 1:
        raise InputError(f"livetime: zenith_max_deg {zenith_max_deg:g} or cos_min {cos_min:g} is out of range")
    weight = spacecraft.livetime_within(intervals)
    blocks = _blocks(nside, wanted)
    key = {
        "spacecraft": spacecraft.digest,
        "intervals": [intervals.start.tobytes().hex(), intervals.stop.tobytes().hex()],
        "settings": [zenith_max_deg, nside, frame, cos_min, azimuth_bins],
        "blocks": blocks.tolist(),
    }

    def make() -> dict[str, np.ndarray]:
        return _sum(spacecraft, weight, zenith_max_deg, nside, frame, cos_min, azimuth_bins, blocks, progress)

    found = remembered("livetime", key, make, folder=cache_dir, sound=lambda arrays: set(arrays) == set(PARTS))
    return Livetime(
        nside=nside, frame=frame, total_s=float(weight.sum()), cos_min=cos_min, zenith_max_deg=zenith_max_deg, **found
    )


PARTS = ("seconds", "weighted", "cos_theta")


def _side(nside: int) -> int:
    """Pixels along the side of a block of the sky."""
    return min(BLOCK, nside)


def _blocks(nside: int, wanted: np.ndarray | None) -> np.ndarray:
    """Numbers (NESTED) of the blocks of the sky that hold wanted directions."""
    import healpy

    coarse = nside // _side(nside)
    if wanted is None:
        return np.arange(12 * coarse**2)
    nested = healpy.ring2nest(nside, np.flatnonzero(wanted))
    return np.unique(nested // _side(nside) ** 2)


def _sum(
    spacecraft: Spacecraft, weight: np.ndarray, zenith_max_deg: float, nside: int, frame: Frame, cos_min: float,
    azimuth_bins: int, blocks: np.ndarray, progress: Progress | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of a `Livetime`, block by block of the sky: blocks do not meet, whatever thread adds one up."""
    import healpy

    n_pix, bins, size = 12 * nside**2, int(np.ceil(np.sqrt(1 - cos_min) * N_BINS)), _side(nside) ** 2
    limits = np.array([cos_min, np.deg2rad(zenith_max_deg)])
    apart = azimuth_bins if azimuth_bins > 1 else 0
    seconds, sums = np.zeros((n_pix, bins, apart)), np.zeros((n_pix, bins, 3))  # NESTED: a block is side by side
    used, done = np.flatnonzero(weight > 0), 0
    chunks = [used[start : start + CHUNK] for start in range(0, len(used), CHUNK)]
    for rows in chunks:
        z, zenith = (rotated(spacecraft.middle(name, rows), "equatorial", frame) for name in ("z", "zenith"))
        x = rotated(spacecraft.middle("x", rows), "equatorial", frame) if apart else z
        fraction = spacecraft.livetime[rows] / (spacecraft.stop[rows] - spacecraft.start[rows])

        def add(number: int, of_rows: tuple[np.ndarray, ...] = (z, x, zenith, weight[rows], fraction)) -> None:
            nonlocal done
            first = int(blocks[number]) * size
            direction = np.stack(healpy.pix2vec(nside, np.arange(first, first + size), nest=True))
            centre = direction.mean(axis=1) / np.linalg.norm(direction.mean(axis=1))
            reach = float(np.arccos(np.clip(centre @ direction, -1.0, 1.0)).max()) + 1e-9
            parts = seconds[first : first + size], sums[first : first + size]
            add_livetime(direction, centre, reach, *of_rows, limits, N_BINS, *parts)
            done += 1
            if progress is not None:
                progress(done, len(chunks) * len(blocks))

        run_tasks(add, len(blocks))
    ring = healpy.ring2nest(nside, np.arange(n_pix))
    seconds, sums = seconds[ring], sums[ring]
    total = sums[..., 0]
    centres = 1 - ((np.arange(bins) + 0.5) / N_BINS) ** 2
    cos_theta = np.where(total > 0, sums[..., 2] / np.where(total > 0, total, 1.0), centres)
    return {"seconds": seconds if apart else sums[..., :1], "weighted": sums[..., 1], "cos_theta": cos_theta}
