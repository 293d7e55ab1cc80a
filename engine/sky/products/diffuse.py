"""Intensity at several energies: diffuse models as images (like `gll_iem_v07`) or HEALPix tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.maps import with_nan
from gammasky.engine.sky.pixels import Frame, Pixels
from gammasky.engine.sky.products.cubes import content_of, cube_numbers, node_energies, read_cube
from gammasky.engine.sky.products.exposure import ExposureCube
from gammasky.engine.sky.spectra import intensity_in_bins
from gammasky.engine.sky.statements import factor_to

INTENSITY_UNIT = "1 / (cm2 s sr MeV)"


@dataclass(frozen=True, eq=False)
class DiffuseCube:
    """Differential intensity by energy and pixel.

    Args:
        label: how errors name the file.
        pixels: HEALPix or a projected grid.
        energies_gev (N,) [GeV]: energies of the layers.
        intensity (N, n_pixels) [cm^-2 s^-1 sr^-1 MeV^-1]: NaN where the file has no value.
    """

    label: str
    pixels: Pixels
    energies_gev: np.ndarray
    intensity: np.ndarray

    kind = "diffuse cube"

    @staticmethod
    def matches(hdus: Any) -> bool:
        """Whether an open FITS file holds such a cube: pixels and ENERGIES, not counts or exposure."""
        return (
            "ENERGIES" in hdus and "EBOUNDS" not in hdus and bool(cube_numbers(hdus)) and not ExposureCube.matches(hdus)
        )

    @classmethod
    def open(cls, path: Path | str, frame: Frame | None = None) -> DiffuseCube:
        """The cube in the file `path`; see `read`."""
        return cls.read(*content_of(path), frame)

    @classmethod
    def read(
        cls,
        content: bytes,
        label: str,
        frame: Frame | None = None,
        hdu: int | str | None = None,
        unit: str | None = None,
    ) -> DiffuseCube:
        """The cube in the bytes of a file (unpacked).

        Args:
            content: the bytes.
            label: how errors name the file.
            frame: of a file that does not say it.
            hdu: extension with the pixels, where several could be meant.
            unit: of a file that does not say it; cm^-2 s^-1 sr^-1 MeV^-1 by default.

        Raises:
            InputError: a damaged file, no or several candidates for the cube, no ENERGIES, no frame, another unit.
        """
        with open_fits(content, label) as hdus:
            cube = read_cube(hdus, label, frame=frame, hdu=hdu)
            energies = node_energies(hdus, len(cube.values), label)
        factor = factor_to(INTENSITY_UNIT, "intensity per energy", cube.unit, unit, label)
        return cls(label, cube.pixels, energies, with_nan(cube.values) * factor)

    def in_bins(self, energy_edges_gev: Sequence[float] | np.ndarray, *, extrapolate: bool = False) -> np.ndarray:
        """Intensity (E, n_pixels) [cm^-2 s^-1 sr^-1] of bins: the integral over energy, a power law between energies.

        Args:
            energy_edges_gev (E + 1,) [GeV]: edges of the bins.
            extrapolate: go on with the power law between the last two (or the first two) energies.

        Raises:
            InputError: a bin that the energies do not cover.
        """
        return intensity_in_bins(self.energies_gev, self.intensity, energy_edges_gev, self.label, extrapolate)
