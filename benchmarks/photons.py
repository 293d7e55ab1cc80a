"""Photons a second and memory of binning a photon list: `python benchmarks/photons.py [millions] [folder]`.

The list is made up, written to the folder and removed. The time is that of the processor, on one core.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from gammasky.engine.sky.photons import PhotonCuts, PhotonList, bin_photons
from gammasky.engine.sky.pixels import HealpixPixels

#: the columns of the mission's lists: name, format, bytes
COLUMNS = (
    ("ENERGY", "E", 4), ("RA", "E", 4), ("DEC", "E", 4), ("L", "E", 4), ("B", "E", 4), ("THETA", "E", 4),
    ("PHI", "E", 4), ("ZENITH_ANGLE", "E", 4), ("EARTH_AZIMUTH_ANGLE", "E", 4), ("TIME", "D", 8), ("EVENT_ID", "J", 4),
    ("RUN_ID", "J", 4), ("RECON_VERSION", "I", 2), ("CALIB_VERSION", "3I", 6), ("EVENT_CLASS", "32X", 4),
    ("EVENT_TYPE", "32X", 4), ("CONVERSION_TYPE", "I", 2), ("LIVETIME", "D", 8), ("DIFRSP0", "E", 4),
    ("DIFRSP1", "E", 4), ("DIFRSP2", "E", 4), ("DIFRSP3", "E", 4), ("DIFRSP4", "E", 4),
)  # fmt: skip
MILLION = 1_000_000


def write(path: Path, millions: int) -> None:
    """Write a list of `millions` million photons, a million at a time, and good times of nine tenths."""
    kinds = {"E": ">f4", "D": ">f8", "32X": ">u4"}
    row = np.dtype([(name, kinds.get(kind, f"V{size}")) for name, kind, size in COLUMNS])
    table = fits.BinTableHDU.from_columns([fits.Column(name, kind) for name, kind, _ in COLUMNS], name="EVENTS")
    table.header["NAXIS2"] = n = millions * MILLION
    rng = np.random.default_rng(1)
    with open(path, "wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode() + table.header.tostring().encode())
        for part in range(millions):
            rows = np.zeros(MILLION, row)
            rows["ENERGY"] = 100.0 / (1.0 - rng.uniform(size=MILLION))
            rows["L"], rows["ZENITH_ANGLE"] = rng.uniform(0, 360, MILLION), rng.uniform(0, 110, MILLION)
            rows["B"] = np.rad2deg(np.arcsin(rng.uniform(-1, 1, MILLION)))
            rows["TIME"] = 1e6 * np.sort(rng.uniform(part, part + 1, MILLION))
            rows["EVENT_CLASS"] = rng.choice([128, 128 + 256, 128 + 256 + 1024], MILLION)
            rows["EVENT_TYPE"] = rng.choice([1 + 4, 1 + 8, 2 + 16, 2 + 32], MILLION)
            file.write(rows.tobytes())
        file.write(b"\0" * (-n * row.itemsize % 2880))
        start = np.arange(0.0, millions * 1e6, 5000.0)
        columns = [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=start + 4500.0)]
        times = fits.BinTableHDU.from_columns(columns, name="GTI")
        data = np.stack([start, start + 4500.0], axis=1).astype(">f8").tobytes()
        file.write(times.header.tostring().encode() + data + b"\0" * (-len(data) % 2880))


def main(millions: int, folder: str) -> None:
    """Print one row for each resolution."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        write(Path(place) / "photons.fits", millions)
        photons = PhotonList.open(Path(place) / "photons.fits")
        cuts = PhotonCuts(event_class="SOURCE", event_type=["FRONT", "BACK"], zenith_max_deg=90.0)
        edges = np.geomspace(100.0, 1e6, 31)
        bin_photons([photons], HealpixPixels(1), edges, cuts)  # compiles
        print("| million photons | nside | energy bins | million photons a second | peak memory [MB] |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for nside in (64, 128, 256):
            began = time.process_time()
            binned = bin_photons([photons], HealpixPixels(nside), edges, cuts)
            rate = binned.n_read / (time.process_time() - began) / 1e6
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f"| {millions} | {nside} | {len(edges) - 1} | {rate:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2] if len(sys.argv) > 2 else tempfile.gettempdir())
