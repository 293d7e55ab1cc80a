"""Exposure at several energies, as gtexpcube2 writes it: HEALPix tables or images, with energies in ENERGIES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.maps import with_nan
from gammasky.engine.sky.pixels import Frame, HealpixPixels, Pixels
from gammasky.engine.sky.products.cubes import Cube, content_of, cube_numbers, node_energies, read_cube
from gammasky.engine.sky.psf import SPECTRAL_INDEX
from gammasky.engine.sky.spectra import require_cover, weighted_mean
from gammasky.engine.sky.statements import EXPOSURE_UNIT, factor_to

DECISIVE = 3.0  # how much less the exposure must vary within the rings of one reading of the frame than of the other


@dataclass(frozen=True, eq=False)
class ExposureCube:
    """Exposure by energy and pixel.

    Args:
        label: how errors name the file.
        pixels: HEALPix or a projected grid.
        energies_gev (N,) [GeV]: energies of the layers.
        exposure (N, n_pixels) [cm^2 s]: NaN where the file has no value.
        frame_by: how the frame is known, in words.
    """

    label: str
    pixels: Pixels
    energies_gev: np.ndarray
    exposure: np.ndarray
    frame_by: str

    kind = "exposure cube"

    @staticmethod
    def matches(hdus: Any) -> bool:
        """Whether an open FITS file holds such a cube: pixels and ENERGIES, and a name or a cut that says exposure."""
        if "ENERGIES" not in hdus or "EBOUNDS" in hdus:
            return False
        if "HPXEXPOSURES" in hdus:
            return True
        numbers = cube_numbers(hdus)
        said = [str(hdus[n].header.get("BUNIT", "")).replace("^", "").replace("*", "").strip() for n in numbers]
        by_cuts = any(value == "IRF_VERSION" for n in numbers for value in hdus[n].header.values())
        return any(unit in ("cm2 s", "cm2s", "m2 s", "m2s") for unit in said) or (by_cuts and not any(said))

    @classmethod
    def open(cls, path: Path | str, frame: Frame | None = None) -> ExposureCube:
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
    ) -> ExposureCube:
        """The cube in the bytes of a file (unpacked).

        The table HPXEXPOSURES of gtexpcube2 never says its frame. It is equatorial, unless the exposure itself varies
        decisively less along the circles of declination when it is taken for Galactic: a survey's exposure depends on
        declination above all, and the tool takes the frame of a counts cube that it is given.

        Args:
            content: the bytes.
            label: how errors name the file.
            frame: of a file that does not say it.
            hdu: extension with the pixels, where several could be meant.
            unit: of a file that does not say it; cm2 s by default.

        Raises:
            InputError: a damaged file, no or several candidates for the cube, no ENERGIES, no frame, another unit.
        """
        with open_fits(content, label) as hdus:
            rule: Frame | None = "equatorial" if "HPXEXPOSURES" in hdus else None
            cube = read_cube(hdus, label, frame=frame, rule=rule, hdu=hdu)
            energies = node_energies(hdus, len(cube.values), label)
        cube, frame_by = _with_frame(cube, frame)
        values = with_nan(cube.values) * factor_to(EXPOSURE_UNIT, "exposure", cube.unit, unit, label)
        return cls(label, cube.pixels, energies, values, frame_by)

    def in_bins(self, energy_edges_gev: Sequence[float] | np.ndarray, index: float = SPECTRAL_INDEX) -> np.ndarray:
        """Exposure (E, n_pixels) [cm^2 s] of bins: int eps(E) E^-index dE / int E^-index dE, eps a power law between
        the energies of the file. Where the file has one energy inside each bin, that is the bin's (`bincalc = CENTER`).

        Raises:
            InputError: a bin that the energies do not cover.
        """
        edges = np.asarray(energy_edges_gev, dtype=np.float64)
        inside = (
            (self.energies_gev > edges[:-1]) & (self.energies_gev < edges[1:])
            if len(edges) == len(self.energies_gev) + 1
            else np.zeros(1, dtype=bool)
        )
        if inside.all():
            return self.exposure
        require_cover(self.energies_gev, edges, self.label)
        return weighted_mean(self.energies_gev, self.exposure, edges, index)


def _with_frame(cube: Cube, frame: Frame | None) -> tuple[Cube, str]:
    """The cube in the frame that it says or shows, and how that is known."""
    if cube.frame_said or not isinstance(cube.pixels, HealpixPixels):
        return cube, "said by the reader" if frame is not None else "said by the file"
    equatorial, galactic = (variance_within_rings(cube, reading) for reading in ("equatorial", "galactic"))
    shares = f"{100 * equatorial:.0f} % of its variance lies within rings of declination if it is equatorial, "
    shares += f"{100 * galactic:.0f} % if Galactic"
    if equatorial > DECISIVE * galactic:
        return replace(cube, pixels=replace(cube.pixels, frame="galactic")), f"not said; {shares}: Galactic"
    return cube, f"not said; the rule of the tool that wrote it ({shares})"


def variance_within_rings(cube: Cube, frame: Frame) -> float:
    """Share of the variance of the middle layer that is within rings of declination, where it is read in `frame`.

    0 for an exposure that depends on declination alone, 1 for one that does not depend on it; NaN where it varies
    nowhere or is not known everywhere. Rings are of one degree.
    """
    assert isinstance(cube.pixels, HealpixPixels)
    sky = with_nan(cube.values[len(cube.values) // 2])
    if not np.isfinite(sky).all() or np.ptp(sky) == 0:
        return float("nan")
    from gammasky.engine.sky.pixels.frames import in_frame

    _, declination = in_frame(*cube.pixels.own_centres(), frame, "equatorial")
    ring = np.floor(declination + 90.0).astype(np.int64)
    number = np.maximum(np.bincount(ring), 1)
    mean = np.bincount(ring, sky) / number
    return float(np.var(sky - mean[ring]) / np.var(sky))
