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


def livetime(
    spacecraft: Spacecraft,
    intervals: Intervals,
    *,
    zenith_max_deg: float = 180.0,
    nside: int = 64,
    frame: Frame = "galactic",
    cos_min: float = 0.2,
    azimuth_bins: int = 1,
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
        progress: called with blocks of the sky done, and of all.
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
    key = {
        "spacecraft": spacecraft.digest,
        "intervals": [intervals.start.tobytes().hex(), intervals.stop.tobytes().hex()],
        "settings": [zenith_max_deg, nside, frame, cos_min, azimuth_bins],
    }

    def make() -> dict[str, np.ndarray]:
        return _sum(spacecraft, weight, zenith_max_deg, nside, frame, cos_min, azimuth_bins, progress)

    found = remembered("livetime", key, make, folder=cache_dir, sound=lambda arrays: set(arrays) == set(PARTS))
    return Livetime(
        nside=nside, frame=frame, total_s=float(weight.sum()), cos_min=cos_min, zenith_max_deg=zenith_max_deg, **found
    )


PARTS = ("seconds", "weighted", "cos_theta")


def _sum(
    spacecraft: Spacecraft, weight: np.ndarray, zenith_max_deg: float, nside: int, frame: Frame, cos_min: float,
    azimuth_bins: int, progress: Progress | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of a `Livetime`, block by block of the sky: blocks do not meet, whatever thread adds one up."""
    import healpy

    n_pix, bins = 12 * nside**2, int(np.ceil(np.sqrt(1 - cos_min) * N_BINS))
    used = weight > 0
    axes = {name: rotated(spacecraft.middle(name)[used], "equatorial", frame) for name in ("z", "x", "zenith")}
    fraction = (spacecraft.livetime / (spacecraft.stop - spacecraft.start))[used]
    limits = np.array([cos_min, np.deg2rad(zenith_max_deg)])
    apart = azimuth_bins if azimuth_bins > 1 else 0
    seconds, sums = np.zeros((n_pix, bins, apart)), np.zeros((n_pix, bins, 3))
    side = min(BLOCK, nside)
    n_blocks, done = n_pix // side**2, 0

    def add(block: int) -> None:
        nonlocal done
        pixel = healpy.nest2ring(nside, np.arange(block * side**2, (block + 1) * side**2))
        direction = np.stack(healpy.pix2vec(nside, pixel))
        centre = direction.mean(axis=1) / np.linalg.norm(direction.mean(axis=1))
        reach = float(np.arccos(np.clip(centre @ direction, -1.0, 1.0)).max()) + 1e-9
        parts = np.zeros((side**2, bins, apart)), np.zeros((side**2, bins, 3))
        rows = axes["z"], axes["x"], axes["zenith"], weight[used], fraction
        add_livetime(direction, centre, reach, *rows, limits, N_BINS, *parts)
        seconds[pixel], sums[pixel] = parts
        done += 1
        if progress is not None:
            progress(done, n_blocks)

    run_tasks(add, n_blocks)
    total = sums[..., 0]
    centres = 1 - ((np.arange(bins) + 0.5) / N_BINS) ** 2
    cos_theta = np.where(total > 0, sums[..., 2] / np.where(total > 0, total, 1.0), centres)
    return {"seconds": seconds if apart else sums[..., :1], "weighted": sums[..., 1], "cos_theta": cos_theta}
