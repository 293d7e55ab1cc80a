"""The spacecraft file (FT2): where the instrument pointed, where the zenith was, and how long it was live."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.tables import find_tables
from gammasky.engine.sky.pixels.frames import vectors_of

AXES = {"z": ("RA_SCZ", "DEC_SCZ"), "x": ("RA_SCX", "DEC_SCX"), "zenith": ("RA_ZENITH", "DEC_ZENITH")}
TIMES = ("START", "STOP", "LIVETIME")
JOINED = 1e-3  # [s]: rows nearer than this follow each other
UNCOVERED = 1.0  # [s] of good time in all that may lie outside of the rows: the ends of rows are rounded


@dataclass(frozen=True, eq=False)
class Spacecraft:
    """Rows of about 30 s, by rising time.

    Args:
        label: how errors name it.
        start, stop, livetime (n,) [s]: of each row.
        axes: right ascension and declination (n, 2) [deg] at the start of each row: "z" along which the instrument
            looks, "x" from which its azimuth counts, and "zenith".
    """

    label: str
    start: np.ndarray
    stop: np.ndarray
    livetime: np.ndarray
    axes: dict[str, np.ndarray]

    @classmethod
    def open(cls, paths: Sequence[Path | str] | Path | str) -> Spacecraft:
        """Read the extension SC_DATA of one or several files.

        Raises:
            InputError: not such a file, a column that is missing, rows that overlap or are no numbers.
        """
        files = [paths] if isinstance(paths, Path | str) else list(paths)
        names = [*TIMES, *(name for pair in AXES.values() for name in pair)]
        parts = []
        for path in map(Path, files):
            tables = find_tables(path)
            if "SC_DATA" not in tables:
                have = ", ".join(tables) or "no table"
                raise InputError(f"{path}: no extension SC_DATA, as a spacecraft file has it; the file has {have}")
            parts.append(tables["SC_DATA"].whole(*names))
        label = ", ".join(str(path) for path in files)
        columns = {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}
        _check(columns, label)
        order = np.argsort(columns["START"], kind="stable")
        start, stop, livetime = (columns[name][order].astype(np.float64) for name in TIMES)
        if (start[1:] < stop[:-1] - JOINED).any():
            row = int(np.flatnonzero(start[1:] < stop[:-1] - JOINED)[0])
            raise InputError(f"{label}: the rows that begin at {start[row]:.3f} and {start[row + 1]:.3f} s overlap")
        axes = {axis: np.stack([columns[name][order] for name in names], axis=1) for axis, names in AXES.items()}
        return cls(label, start, stop, livetime, axes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that livetimes depend on."""
        digest = hashlib.sha256()
        for values in (self.start, self.stop, self.livetime, *self.axes.values()):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def livetime_within(self, intervals: Intervals) -> np.ndarray:
        """Livetime (n,) [s] of each row within good times, to which a row that lies partly in them gives its share.

        Raises:
            InputError: good times outside of the rows.
        """
        overlap = intervals.overlap(self.start, self.stop)
        missing = intervals.total - float(overlap.sum())
        if missing > UNCOVERED:
            raise InputError(
                f"{self.label}: {missing:.0f} s of the good time intervals ({intervals.start[0]:.0f} to "
                f"{intervals.stop[-1]:.0f} s) lie outside of its rows ({self.start[0]:.0f} to {self.stop[-1]:.0f} s); "
                "use the spacecraft file of the same weeks"
            )
        return np.asarray(self.livetime * overlap / (self.stop - self.start))

    def middle(self, axis: str, rows: np.ndarray) -> np.ndarray:
        """Equatorial unit vectors (n, 3) in the middle of the `rows` (n,).

        They are between a row's own and that of the next one, where this follows. The mission's tool takes those at the
        start: 15 s, or one degree of the orbit, earlier.
        """
        after = np.minimum(rows + 1, len(self.start) - 1)
        follows = (after > rows) & (np.abs(self.start[after] - self.stop[rows]) < JOINED)
        here, there = (vectors_of(*self.axes[axis][places].astype(np.float64).T) for places in (rows, after))
        mean = np.where(follows[:, None], here + there, here)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        return np.where(length > 0.1, mean / np.maximum(length, 0.1), here)  # a turn by 170 deg has no middle


def _check(columns: dict[str, np.ndarray], label: str) -> None:
    """Refuse rows that cannot be."""
    if not len(columns["START"]):
        raise InputError(f"{label}: SC_DATA is empty")
    for name, values in columns.items():
        if not np.isfinite(values).all() or (name.startswith("DEC") and (np.abs(values) > 90).any()):
            row = int(
                np.flatnonzero(~np.isfinite(values) | (np.abs(values) > 90 if name.startswith("DEC") else False))[0]
            )
            raise InputError(f"{label}: {name} is {values[row]:g} in row {row}; correct the file")
    length = columns["STOP"] - columns["START"]
    bad = ~(length > 0) | (columns["LIVETIME"] < 0) | (columns["LIVETIME"] > length * (1 + 1e-3) + 1e-3)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{label}: row {row} lasts {length[row]:g} s and was live for {columns['LIVETIME'][row]:g} s; expected a "
            "livetime from 0 to the length of the row"
        )
