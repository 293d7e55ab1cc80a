"""Photon counts in bins of energy, as gtbin writes them: HEALPix tables or images, with bins in EBOUNDS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.maps import NOT_OBSERVED, whole_counts
from gammasky.engine.sky.pixels import Frame, Pixels
from gammasky.engine.sky.products.cubes import bin_edges, content_of, cube_numbers, read_cube
from gammasky.engine.sky.spectra import TOLERANCE
from gammasky.engine.sky.statements import require_counts


@dataclass(frozen=True, eq=False)
class CountsCube:
    """Photons by energy bin and pixel.

    Args:
        label: how errors name the file.
        pixels: HEALPix or a projected grid, in the frame of the file: counts are never rotated.
        energy_edges_gev (E + 1,) [GeV]: edges of the bins.
        counts (E, n_pixels) int64: photons; NOT_OBSERVED (-1) in pixels that a partial table lacks.
    """

    label: str
    pixels: Pixels
    energy_edges_gev: np.ndarray
    counts: np.ndarray

    kind = "counts cube"

    @staticmethod
    def matches(hdus: Any) -> bool:
        """Whether an open FITS file holds such a cube: pixels, and EBOUNDS."""
        return "EBOUNDS" in hdus and bool(cube_numbers(hdus))

    @classmethod
    def open(cls, path: Path | str, frame: Frame | None = None) -> CountsCube:
        """The cube in the file `path`; see `read`."""
        return cls.read(*content_of(path), frame)

    @classmethod
    def read(cls, content: bytes, label: str, frame: Frame | None = None, hdu: int | str | None = None) -> CountsCube:
        """The cube in the bytes of a file (unpacked).

        Args:
            content: the bytes.
            label: how errors name the file.
            frame: of a file that does not say it.
            hdu: extension with the pixels, where several could be meant.

        Raises:
            InputError: a damaged file, no or several candidates for the cube, no EBOUNDS, no frame, or numbers that
                are no counts.
        """
        with open_fits(content, label) as hdus:
            cube = read_cube(hdus, label, frame=frame, hdu=hdu)
            if "EBOUNDS" not in hdus:
                have = ", ".join(f"{number} ({extension.name})" for number, extension in enumerate(hdus))
                raise InputError(f"{label}: no extension EBOUNDS with the energy bins of the counts; it has {have}")
            edges = bin_edges(hdus, len(cube.values), label)
        require_counts(cube.unit, label)
        return cls(label, cube.pixels, edges, whole_counts(cube.values, label))

    def in_bins(self, energy_edges_gev: Sequence[float] | np.ndarray) -> np.ndarray:
        """Counts (bins, n_pixels) between other edges, which must be among those of the file: bins are added up.

        Raises:
            InputError: an edge that is none of the file's.
        """
        edges = np.asarray(energy_edges_gev, dtype=np.float64)
        nearest = np.abs(np.log(edges[:, None] / self.energy_edges_gev)).argmin(axis=1)
        wrong = np.abs(self.energy_edges_gev[nearest] / edges - 1) > TOLERANCE
        if wrong.any() or np.any(np.diff(nearest) <= 0):
            have = ", ".join(f"{edge:.6g}" for edge in self.energy_edges_gev)
            bad = edges[wrong][0] if wrong.any() else edges[1:][np.diff(nearest) <= 0][0]
            raise InputError(
                f"{self.label}: {bad:.6g} GeV is not an edge of its energy bins; it has {have} GeV; choose among these"
            )
        parts = [self.counts[low:high] for low, high in pairwise(nearest)]
        return np.stack([np.where((part < 0).any(axis=0), NOT_OBSERVED, part.sum(axis=0)) for part in parts])
