"""Photons in pixels and energy bins: the counts map, and what the cuts took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.photons.cuts import PhotonCuts
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.photon_list import PhotonList
from gammasky.engine.sky.photons.sieve import REASONS, sieve
from gammasky.engine.sky.pixels.frames import Frame, in_frame

OUTSIDE = "outside the pixels"
EDGE_SLACK = 1e-6  # of single-precision energies at the ends of a range


class Places(Protocol):
    """Pixels that photons are counted in: `HealpixPixels`, `ProjectedPixels`, or a `PartOfSky`."""

    @property
    def frame(self) -> Frame: ...

    @property
    def n_pixels(self) -> int: ...

    def find_own(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class PartOfSky:
    """Some of the pixels of the sky.

    Args:
        pixels: all of them.
        numbers (n,): of those that count, rising.
    """

    pixels: Places
    numbers: np.ndarray

    @property
    def frame(self) -> Frame:
        """Frame of the pixels."""
        return self.pixels.frame

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the part."""
        return len(self.numbers)

    def find_own(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """Place among `numbers` of the pixel that holds each position [deg] of their frame; -1 where none does."""
        found = self.pixels.find_own(lon_deg, lat_deg)
        place = np.minimum(np.searchsorted(self.numbers, found), len(self.numbers) - 1)
        return np.where(self.numbers[place] == found, place, -1)


@dataclass(frozen=True, eq=False)
class BinnedPhotons:
    """Counts, and what became of every photon.

    Args:
        counts (E, n) int64: photons by energy bin and pixel.
        energy_edges_mev (E + 1,) [MeV]: edges; a photon at the lower edge is in the bin, at the upper one it is not.
        n_read: photons in the lists.
        cut: photons that each cut took, in the order in which cuts are looked at.
    """

    counts: np.ndarray
    energy_edges_mev: np.ndarray
    n_read: int
    cut: dict[str, int] = field(default_factory=dict)


def bin_photons(
    lists: Sequence[PhotonList],
    pixels: Places,
    energy_edges_mev: Sequence[float] | np.ndarray,
    cuts: PhotonCuts | None = None,
    *,
    intervals: Intervals | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BinnedPhotons:
    """Count photons in pixels and energy bins, block by block: the memory that it takes does not grow with the lists.

    Args:
        lists: the photon lists.
        pixels: where they are counted; photons keep their own coordinates where the list has them in that
            frame, and are rotated exactly where not.
        energy_edges_mev (E + 1,) [MeV]: rising.
        cuts: on class, type, zenith angle and time.
        intervals: good times, outside of which photons are cut; by default each list has its own.
        progress: called with photons read and photons in all.

    Raises:
        InputError: edges that do not rise, a column that a cut needs and the list lacks, positions or energies that are
            no numbers, or energies that were not in the list to begin with.
    """
    edges = np.asarray(energy_edges_mev, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all() or not edges[0] > 0:
        raise InputError(f"energy edges: expected at least two positive, rising energies, got {edges.tolist()}")
    cuts = cuts or PhotonCuts()
    n_bins, total = len(edges) - 1, sum(photons.n_photons for photons in lists)
    counts = np.zeros(n_bins * pixels.n_pixels, dtype=np.int64)
    tally, outside, done = np.zeros(len(REASONS), dtype=np.int64), 0, 0
    for photons in lists:
        check_energies_of(photons, edges)
        needed = _Columns(photons, pixels.frame, cuts, intervals or photons.intervals)
        for block in photons.events.blocks(needed.names):
            energy = needed.energies(block)
            kept = needed.kept(block, energy, edges, tally)
            lon, lat = needed.positions(block, kept)
            place = pixels.find_own(lon, lat)
            inside = place >= 0
            energy_bin = np.searchsorted(edges, energy[kept], side="right") - 1
            flat = (energy_bin * pixels.n_pixels + place)[inside]
            _add(counts, flat)
            outside += len(place) - len(flat)
            done += len(energy)
            if progress is not None:
                progress(done, total)
    cut = {name: int(number) for name, number in zip(REASONS[1:], tally[1:], strict=True) if number}
    cut |= {OUTSIDE: outside} if outside else {}
    return BinnedPhotons(counts.reshape(n_bins, pixels.n_pixels), edges, done, cut)


def check_energies_of(photons: PhotonList, edges_mev: np.ndarray) -> None:
    """Refuse energy bins that the list was not made for.

    Raises:
        InputError: a bin reaches beyond the energies that the list was cut to.
    """
    if photons.selection.energy_mev is None:
        return
    low, high = photons.selection.energy_mev
    if edges_mev[0] < low * (1 - EDGE_SLACK) or edges_mev[-1] > high * (1 + EDGE_SLACK):
        raise InputError(
            f"{photons.path}: its photons were cut to {low / 1e3:g} to {high / 1e3:g} GeV, but the energy bins reach "
            f"from {edges_mev[0] / 1e3:g} to {edges_mev[-1] / 1e3:g} GeV; use bins within, and mind the unit"
        )


class _Columns:
    """What is read of a list, and how."""

    def __init__(self, photons: PhotonList, frame: Frame, cuts: PhotonCuts, intervals: Intervals | None) -> None:
        self.photons, self.frame = photons, frame
        self.found, self.position = photons.position_columns(frame)
        self.masks = np.array([cuts.event_class or 0, cuts.event_type or 0], dtype=np.int64)
        self.start = np.empty(0) if intervals is None else intervals.start
        self.stop = np.empty(0) if intervals is None else intervals.stop
        timed = intervals is not None or cuts.time_min_s is not None or cuts.time_max_s is not None
        self.optional = {
            "EVENT_CLASS": bool(cuts.event_class),
            "EVENT_TYPE": bool(cuts.event_type),
            "ZENITH_ANGLE": cuts.zenith_max_deg is not None,
            "TIME": timed,
        }
        self.limits = np.array([0.0, np.inf, cuts.zenith_max_deg or np.inf, -np.inf, np.inf])
        self.limits[3] = -np.inf if cuts.time_min_s is None else cuts.time_min_s
        self.limits[4] = np.inf if cuts.time_max_s is None else cuts.time_max_s
        self.names = ["ENERGY", *self.position, *(name for name, needed in self.optional.items() if needed)]

    def energies(self, block: dict[str, np.ndarray]) -> np.ndarray:
        """Energies [MeV] of a block."""
        return block["ENERGY"].astype(np.float64) * self.photons.mev_per_unit

    def kept(
        self, block: dict[str, np.ndarray], energy: np.ndarray, edges: np.ndarray, tally: np.ndarray
    ) -> np.ndarray:
        """Places of the photons of a block that pass all cuts; `tally` counts why the others do not."""
        if not np.isfinite(energy).all():
            raise InputError(f"{self.photons.path}: ENERGY has values that are no numbers; correct the list")
        self.limits[:2] = edges[0], edges[-1]
        ints, floats = np.empty(0, dtype=np.int64), np.empty(0)
        reason = np.empty(len(energy), dtype=np.int8)
        sieve(
            energy,
            block["ZENITH_ANGLE"].astype(np.float64) if self.optional["ZENITH_ANGLE"] else floats,
            block["TIME"].astype(np.float64) if self.optional["TIME"] else floats,
            block["EVENT_CLASS"].astype(np.int64) if self.optional["EVENT_CLASS"] else ints,
            block["EVENT_TYPE"].astype(np.int64) if self.optional["EVENT_TYPE"] else ints,
            self.masks, self.limits, self.start, self.stop, reason, tally,
        )  # fmt: skip
        return np.flatnonzero(reason == 0)

    def positions(self, block: dict[str, np.ndarray], kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions [deg] of the photons `kept`, in the frame of the pixels."""
        lon, lat = (block[name][kept].astype(np.float64) for name in self.position)
        if not (np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):
            raise InputError(
                f"{self.photons.path}: {' or '.join(self.position)} has values that are no angles in degrees"
            )
        return (lon, lat) if self.found == self.frame else in_frame(lon, lat, self.found, self.frame)


def _add(counts: np.ndarray, flat: np.ndarray) -> None:
    """Add one at each of the places `flat`, which may repeat."""
    if len(flat) > len(counts) // 4:
        counts += np.bincount(flat, minlength=len(counts))
    else:
        np.add.at(counts, flat, 1)
