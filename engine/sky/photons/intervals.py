"""Time intervals: the good ones (GTI) of photon lists and exposures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.photons.tables import StreamedTable


@dataclass(frozen=True, eq=False)
class Intervals:
    """Disjoint intervals of mission time, rising.

    Args:
        start, stop (n,) [s]: where each begins and ends.
    """

    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, start: np.ndarray, stop: np.ndarray, label: str) -> Intervals:
        """The union of intervals, whose order does not matter.

        Raises:
            InputError: there is none, or one that does not end after it began.
        """
        start, stop = np.asarray(start, dtype=np.float64), np.asarray(stop, dtype=np.float64)
        bad = ~(stop > start)
        if not len(start) or bad.any():
            told = f"row {np.flatnonzero(bad)[0]} ends before it begins" if len(start) else "the table is empty"
            raise InputError(f"{label}: good time intervals (GTI): {told}; expected rising START and STOP")
        order = np.argsort(start, kind="stable")
        start, stop = start[order], np.maximum.accumulate(stop[order])
        new = np.concatenate([[True], start[1:] > stop[:-1]])
        last = np.concatenate([np.flatnonzero(new)[1:] - 1, [len(start) - 1]])
        return cls(start[new], stop[last])

    @classmethod
    def in_table(cls, table: StreamedTable) -> Intervals:
        """The intervals of an extension GTI.

        Raises:
            InputError: no columns START and STOP, or no intervals.
        """
        start, stop = table.whole("START", "STOP")
        return cls.of(start, stop, str(table.path))

    @property
    def total(self) -> float:
        """Length of all intervals [s]."""
        return float((self.stop - self.start).sum())

    def overlap(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Seconds (n,) of each of the spans from `start` to `stop` (n,) [s] that lie in the intervals."""
        edges = np.stack([self.start, self.stop], axis=1).ravel()
        length = np.stack([np.zeros_like(self.start), self.stop - self.start], axis=1).ravel()
        passed = np.cumsum(length)  # seconds within intervals before each edge; constant between intervals
        return np.interp(stop, edges, passed) - np.interp(start, edges, passed)

    def within(self, start: float, stop: float) -> Intervals:
        """The parts of the intervals that lie between two times [s]; there may be none."""
        low, high = np.maximum(self.start, start), np.minimum(self.stop, stop)
        kept = high > low
        return Intervals(low[kept], high[kept])

    def union(self, others: list[Intervals]) -> Intervals:
        """The times that are in any of the intervals."""
        parts = [self, *others]
        return Intervals.of(np.concatenate([p.start for p in parts]), np.concatenate([p.stop for p in parts]), "GTI")


def read_intervals(path: Path) -> Intervals:
    """The good time intervals of a file that holds nothing else of interest.

    Raises:
        InputError: not a FITS file, or one without an extension GTI.
    """
    from gammasky.engine.sky.photons.tables import find_tables

    tables = find_tables(path)
    if "GTI" not in tables:
        raise InputError(f"{path}: no extension GTI; the file has {', '.join(tables) or 'no table'}")
    return Intervals.in_table(tables["GTI"])
