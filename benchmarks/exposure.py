"""Time of the livetime of a survey and of its exposure: `python benchmarks/exposure.py [days]`; see README.md.

The spacecraft rocks by 50 deg to either side of an orbit that precesses, in rows of 30 s; times are of the processor.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gammasky.engine.kernels.threads import thread_count
from gammasky.engine.sky.instrument import Spacecraft
from gammasky.engine.sky.instrument.livetime import measure_livetime
from gammasky.engine.sky.photons import Intervals
from gammasky.engine.sky.pixels.frames import lonlat_of

ORBIT_S, PRECESSION_S, SLOPE_DEG, ROCKING_DEG, LIVE = 5700.0, 53.4 * 86400.0, 25.6, 50.0, 0.9


def survey(days: float) -> Spacecraft:
    """Rows of 30 s of a rocking survey."""
    start = np.arange(0.0, days * 86400.0, 30.0)
    orbit, node, slope = 2 * np.pi * start / ORBIT_S, 2 * np.pi * start / PRECESSION_S, np.deg2rad(SLOPE_DEG)
    cosines, sines = (np.cos(orbit), np.cos(node)), (np.sin(orbit), np.sin(node))
    zenith = np.stack([
        cosines[0] * cosines[1] - sines[0] * np.cos(slope) * sines[1],
        cosines[0] * sines[1] + sines[0] * np.cos(slope) * cosines[1],
        sines[0] * np.sin(slope),
    ], axis=1)  # fmt: skip
    pole = [np.sin(slope) * sines[1], -np.sin(slope) * cosines[1], np.full(len(start), np.cos(slope))]
    rock = np.deg2rad(ROCKING_DEG) * np.where((start // ORBIT_S) % 2 == 0, 1, -1)[:, None]
    z = np.cos(rock) * zenith + np.sin(rock) * np.stack(pole, axis=1)
    x = np.cross(zenith, np.stack(pole, axis=1))
    axes = {name: np.stack(lonlat_of(axis), axis=1) for name, axis in {"z": z, "x": x, "zenith": zenith}.items()}
    return Spacecraft("survey", start, start + 30.0, np.full(len(start), 30.0 * LIVE), axes)


def main(days: float) -> None:
    """Print one row for each way to add up livetime."""
    craft = survey(days)
    times = Intervals.of(craft.start[:1], craft.stop[-1:], "survey")
    print("| days | rows | nside | bins of the azimuth | core-seconds | seconds on all threads | threads |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        first = survey(0.1)
        short = Intervals.of(first.start[:1], first.stop[-1:], "survey")
        for bins in (1, 10):
            measure_livetime(first, short, nside=8, azimuth_bins=bins, cache_dir=Path(folder))  # compiles
        for nside, bins in ((32, 1), (64, 1), (64, 10)):
            wall, core = time.perf_counter(), time.process_time()
            measure_livetime(craft, times, zenith_max_deg=100.0, nside=nside, azimuth_bins=bins, cache_dir=Path(folder))
            spent = f"{time.process_time() - core:.1f} | {time.perf_counter() - wall:.1f}"
            print(f"| {days:g} | {len(craft.start)} | {nside} | {bins} | {spent} | {thread_count()} |", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 365.25)
