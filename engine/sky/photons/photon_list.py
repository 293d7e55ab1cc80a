"""A photon list (FT1 file): what it holds, how it was cut, and its photons block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gammasky.engine.errors import InputError
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.selection import Selection
from gammasky.engine.sky.photons.tables import StreamedTable, find_tables
from gammasky.engine.sky.pixels.frames import Frame

POSITIONS: dict[Frame, tuple[str, str]] = {"galactic": ("L", "B"), "equatorial": ("RA", "DEC")}


@dataclass(frozen=True, eq=False)
class PhotonList:
    """The extension EVENTS of a file, and its good time intervals.

    Args:
        path: the file.
        events: the table of photons; its rows are read in blocks.
        intervals: the good time intervals; None: the file has none.
        selection: the cuts that its keywords tell of.
    """

    path: Path
    events: StreamedTable
    intervals: Intervals | None
    selection: Selection

    @classmethod
    def open(cls, path: Path | str) -> PhotonList:
        """Look at a file; no photon is read yet.

        Raises:
            InputError: not a whole FITS file, no extension EVENTS, or one without energies or positions.
        """
        path = Path(path)
        tables = find_tables(path)
        if "EVENTS" not in tables:
            raise InputError(
                f"{path}: no extension EVENTS, as a photon list has it; the file has {', '.join(tables) or 'no table'}"
            )
        events = tables["EVENTS"]
        intervals = Intervals.in_table(tables["GTI"]) if "GTI" in tables else None
        selection = Selection.in_headers([events.header], str(path))
        photons = cls(path, events, intervals, selection)
        photons._check_columns()
        return photons

    def _check_columns(self) -> None:
        columns = self.events.columns
        if "ENERGY" not in columns or not any(set(names) <= set(columns) for names in POSITIONS.values()):
            raise InputError(
                f"{self.path}: a photon list has ENERGY and L, B or RA, DEC; its EVENTS has {', '.join(columns)}"
            )
        unit = columns["ENERGY"].unit
        if unit and unit.upper() not in ("MEV", "GEV", "KEV"):
            raise InputError(f"{self.path}: ENERGY is in '{unit}'; expected MeV")

    @property
    def n_photons(self) -> int:
        """Number of photons in the file."""
        return self.events.n_rows

    @cached_property
    def mev_per_unit(self) -> float:
        """What brings the column ENERGY to MeV, which it is in where its header does not say otherwise."""
        return {"GEV": 1e3, "KEV": 1e-3}.get(self.events.columns["ENERGY"].unit.upper(), 1.0)

    def position_columns(self, frame: Frame) -> tuple[Frame, tuple[str, str]]:
        """The columns of positions, if possible in `frame`, and the frame that they are in."""
        other: Frame = "equatorial" if frame == "galactic" else "galactic"
        found = frame if set(POSITIONS[frame]) <= set(self.events.columns) else other
        return found, POSITIONS[found]


def open_lists(paths: Sequence[Path | str]) -> list[PhotonList]:
    """Several lists that belong together, such as one for each week.

    Raises:
        InputError: none, a list that cannot be read, lists that were not cut alike, or that share good times (their
            photons would count twice).
    """
    if not paths:
        raise InputError("photon lists: none was given; name at least one FT1 file")
    lists = [PhotonList.open(path) for path in paths]
    first = lists[0]
    for other in lists[1:]:
        if other.selection != first.selection:
            raise InputError(f"{other.path}: not cut as {first.path} was (DSS keywords); use lists that were cut alike")
        if (other.intervals is None) != (first.intervals is None):
            raise InputError(f"{other.path}: it and {first.path} must both have good time intervals (GTI), or neither")
    known = first.intervals
    for other in lists[1:]:
        if known is None or other.intervals is None:
            continue
        together = known.union([other.intervals])
        if together.total < known.total + other.intervals.total - 1e-3:
            raise InputError(f"{other.path}: shares good times with the lists before it; name each list once")
        known = together
    return lists


def common_intervals(lists: Sequence[PhotonList]) -> Intervals | None:
    """The good times of all lists together."""
    parts = [photons.intervals for photons in lists if photons.intervals is not None]
    return parts[0].union(parts[1:]) if parts else None
