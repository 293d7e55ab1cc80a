"""Simulated skies, photon by photon: from smooth means and populations of point sources to counts.

Sources lie anywhere in the pixels, those around the region included. Each shines in all energy bins: it has one flux,
and in every bin the exposure at its own place; and every photon is displaced on the sphere by the PSF of its bin. The
one-pixel likelihood knows of the PSF only how photons of one source are shared out among pixels; here neighbouring
pixels also share sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gammasky.engine.errors import ImpossibleCountsError, InputError
from gammasky.engine.kernels.simulate import cpu
from gammasky.engine.kernels.simulate.philox import SEEDS, SKIES
from gammasky.engine.kernels.simulate.tables import RADIUS_NODES, PixelTable, SourceTable, radius_table
from gammasky.engine.kernels.simulate.variates import LARGEST_MEAN
from gammasky.engine.kernels.threads import run_tasks
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels import HealpixPixels, ProjectedPixels
from gammasky.engine.sky.pixels.frames import in_frame
from gammasky.engine.sky.projected_sky import ProjectedSky
from gammasky.engine.sky.psf import PSF, DeltaPSF

MOST_SOURCES = 1e8


@dataclass(frozen=True, eq=False)
class SourcePopulation:
    """One population of point sources, N / E pixels of the sky being those of every energy bin (`Observation.by_bin`).

    Args:
        name: for messages.
        expected (N / E,): expected number of sources in each pixel of the sky: template times the integral of dN/dS.
        s_grid (S,) [counts]: rising nodes, in expected photons at the reference exposures.
        dnds (S,): dN/dS there, in any normalisation; a power law in between. A cell with a zero at either end is empty.
        shares (E,): expected photons in each energy bin for S = 1, at the reference exposure of the bin. They add up to
            1 where S counts the photons of all bins; where S is a flux [cm^-2 s^-1] they are what the spectrum and the
            exposure make of it [cm^2 s].
    """

    name: str
    expected: np.ndarray
    s_grid: np.ndarray
    dnds: np.ndarray
    shares: Sequence[float] | np.ndarray = (1.0,)

    @classmethod
    def from_template(
        cls,
        name: str,
        template: np.ndarray,
        s_grid: np.ndarray,
        dnds: np.ndarray,
        shares: Sequence[float] | np.ndarray = (1.0,),
    ) -> SourcePopulation:
        """The population with `template` (N / E,) times `dnds` (S,) [sources per pixel and count] in each pixel."""
        s_grid, dnds = _checked_dnds(name, s_grid, dnds)
        integral = SourceTable.build(np.zeros(1), s_grid, dnds, np.ones(1)).integral
        return cls(name, np.asarray(template, dtype=np.float64) * integral, s_grid, dnds, shares)


@dataclass(frozen=True, eq=False)
class SourceList:
    """The n sources of one simulated sky.

    Args:
        population (n,): index of the population.
        lon_deg, lat_deg (n,) [deg]: Galactic position; longitude in (-180, 180].
        s (n,): S, in the units of the population's grid.
        flux (n,) [cm^-2 s^-1]: flux in all energy bins together.
        photons (n, E): photons in each energy bin, wherever they were detected.
        pixel (n,): pixel that the source lies in.
    """

    population: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    s: np.ndarray
    flux: np.ndarray
    photons: np.ndarray
    pixel: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Photons in all energy bins together (n,)."""
        return np.asarray(self.photons.sum(axis=1))


class SkySimulator:
    """Draws skies in the pixels of a region.

    Args:
        pixels: the region and the pixels around it; sources in all of them, counts in the first `n_region`. Each energy
            bin has its PSF. Photons beyond the counted pixels of their energy bin are lost.

    Raises:
        InputError: a PSF as wide as the sphere.
    """

    def __init__(self, pixels: Observation) -> None:
        self.pixels = pixels
        self._radii = np.stack([_radii(psf) for psf in pixels.psf])
        self._exposure = np.ascontiguousarray(pixels.by_bin(pixels.source_exposure))
        is_grid = isinstance(pixels.grid, ProjectedPixels)
        self._grid = ProjectedSky(pixels, self._radii) if is_grid else None
        self._table = None if is_grid else _pixel_table(pixels, self._exposure)

    def draw(
        self,
        mean: np.ndarray,
        populations: Sequence[SourcePopulation],
        *,
        n: int = 1,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Draw counts (n, n_region) of n skies.

        Args:
            mean (n_region,): mean counts of the smooth part, which already includes the PSF; energy bins in the order
                of the pixels.
            populations: point sources.
            n: number of skies.
            seed: 0 to 2^63 - 1. A sky depends on the seed and its number alone, on any number of threads.
            first: number of the first sky.

        Raises:
            InputError: anything out of range; the message names what and, where it is one, the pixel.
        """
        return self._draw(mean, populations, n, seed, first, with_sources=False)[0]

    def draw_with_sources(
        self,
        mean: np.ndarray,
        populations: Sequence[SourcePopulation],
        *,
        n: int = 1,
        seed: int = 0,
        first: int = 0,
    ) -> tuple[np.ndarray, list[SourceList]]:
        """Draw the same counts as `draw`, and give the sources of each sky."""
        return self._draw(mean, populations, n, seed, first, with_sources=True)

    def _draw(
        self,
        mean: np.ndarray,
        populations: Sequence[SourcePopulation],
        n: int,
        seed: int,
        first: int,
        with_sources: bool,
    ) -> tuple[np.ndarray, list[SourceList]]:
        key, n, first = checked_numbers(n, seed, first)
        mean = self._checked("smooth mean", mean, self.pixels.n_region, LARGEST_MEAN)
        tables = self._source_tables(populations)
        counts = np.zeros((n, len(mean)), dtype=np.int64)
        lists: dict[int, SourceList] = {}

        def task(sky: int) -> None:
            if self._grid is not None or self._table is None:
                assert self._grid is not None
                counts[sky], drawn = self._grid.draw(mean, tables, int(key), first + sky)
                if with_sources:
                    lists[sky] = self._source_list(tables, drawn)
                return
            cpu.add_smooth(mean, first + sky, key, counts[sky])
            drawn = []
            for i, table in tables.items():
                room = cpu.source_number(table, i, first + sky, key) if with_sources else 0
                drawn.append(cpu.Sources.empty(room, self.pixels.n_energy))
                cpu.add_sources(self._table, table, self._radii, i, first + sky, key, counts[sky], drawn[-1])
            if with_sources:
                lists[sky] = self._source_list(tables, drawn)

        run_tasks(task, n)
        return counts, [lists[sky] for sky in sorted(lists)]

    def _source_list(self, tables: dict[int, SourceTable], drawn: list[cpu.Sources]) -> SourceList:
        """The sources of all populations, one after the other."""
        none, numbers = cpu.Sources.empty(0, self.pixels.n_energy), [len(part.pixel) for part in drawn]
        both = cpu.Sources(*(np.concatenate(parts) for parts in zip(*[none, *drawn], strict=True)))
        flux_of_one = np.array([np.sum(table.shares / self.pixels.reference_exposure) for table in tables.values()])
        turned = np.mod(np.rad2deg(both.phi), 360.0)
        own = np.where(turned > 180.0, turned - 360.0, turned), np.rad2deg(np.arctan2(both.z, both.sine))
        lon, lat = in_frame(*own, self.pixels.grid.frame, "galactic")
        return SourceList(
            population=np.repeat(np.array(list(tables), dtype=np.int64), numbers),
            lon_deg=lon,
            lat_deg=lat,
            s=both.s,
            flux=both.s * np.repeat(flux_of_one, numbers),
            photons=both.photons,
            pixel=self.pixels.by_bin(self.pixels.pixel)[0][both.pixel],
        )

    def _source_tables(self, populations: Sequence[SourcePopulation]) -> dict[int, SourceTable]:
        """Tables of the populations that have sources, by their index."""
        tables, total = {}, 0.0
        for i, population in enumerate(populations):
            where = f"population '{population.name}'"
            s_grid, dnds = _checked_dnds(population.name, population.s_grid, population.dnds)
            expected = self._checked(f"{where}: expected sources", population.expected, self._exposure.shape[1], np.inf)
            table = SourceTable.build(expected, s_grid, dnds, self._checked_shares(where, population.shares))
            brightest = s_grid[-1] * (table.shares[:, None] * self._exposure).max()
            if not brightest <= LARGEST_MEAN:
                raise InputError(f"{where}: sources of up to {brightest:.4g} counts; expected at most {LARGEST_MEAN:g}")
            if table.expected > 0 and table.integral == 0:
                raise InputError(f"{where}: dN/dS is zero, got {table.expected:.4g} expected sources; set them to zero")
            if table.expected > 0:
                tables[i] = table
            total += table.expected
        if total > MOST_SOURCES:
            raise InputError(
                f"expected at most {MOST_SOURCES:g} sources per sky, got {total:.4g}; raise the faintest S"
            )
        return tables

    def _checked_shares(self, where: str, shares: Sequence[float] | np.ndarray) -> np.ndarray:
        """`shares` (E,), finite and not negative."""
        values = np.array(shares, dtype=np.float64)
        if values.shape != (self.pixels.n_energy,):
            raise InputError(
                f"{where}: shares: expected one number for each of {self.pixels.n_energy} energy bins, got shape "
                f"{values.shape}"
            )
        if not np.all((values >= 0) & (values < np.inf)):
            raise InputError(f"{where}: shares: expected finite numbers of at least 0, got {values.tolist()}")
        return values

    def _checked(self, what: str, values: np.ndarray, size: int, largest: float) -> np.ndarray:
        """`values` (size,), finite and from 0 to `largest`."""
        values = np.array(values, dtype=np.float64)  # a copy: kernels are compiled for arrays that may be written to
        if values.shape != (size,):
            raise InputError(f"{what}: expected shape ({size},), one value per pixel; got {values.shape}")
        bad = np.flatnonzero(~((values >= 0) & (values <= largest) & (values < np.inf)))
        if bad.size:
            smooth, grid = size == self.pixels.n_region, self.pixels.grid
            index = self.pixels.index if smooth else self.pixels.by_bin(self.pixels.index)[0]
            energy_bin, pixel = divmod(int(index[bad[0]]), grid.n_pixels)
            limit = f" and at most {largest:g}" if largest < np.inf else " and finite"
            place = f"in pixel {pixel} ({grid.name}){f', energy bin {energy_bin}' if smooth else ''}"
            raise ImpossibleCountsError(f"{what}: expected at least 0{limit}, got {values[bad[0]]:g} {place}")
        return values


def checked_numbers(n: int, seed: int, first: int) -> tuple[np.uint64, int, int]:
    """The seed as a key, n and `first`, for any simulator of skies.

    Raises:
        InputError: one that is not a whole number, or out of range.
    """
    for name, value, low, end, limit in (
        ("seed", seed, 0, SEEDS, "0 to 2^63 - 1"),
        ("n", n, 1, SKIES, "1 to 2^32 - 1 skies"),
        ("first", first, 0, SKIES, "0 to 2^32 - 1"),
    ):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not low <= value < end:
            raise InputError(f"{name}: expected a whole number, {limit}; got {value!r}")
    n, first = int(n), int(first)
    if first + n > SKIES:
        raise InputError(f"first + n: expected at most 2^32 skies for one seed, got {first + n}; take another seed")
    return np.uint64(seed), n, first


def _checked_dnds(name: str, s_grid: np.ndarray, dnds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check S (S,) and dN/dS (S,): finite, not negative, rising S, and a finite integral."""
    where = f"population '{name}'"
    s_grid, dnds = (np.array(values, dtype=np.float64) for values in (s_grid, dnds))
    if s_grid.ndim != 1 or s_grid.size < 2 or dnds.shape != s_grid.shape:
        raise InputError(
            f"{where}: S grid and dN/dS must be two lists of one length >= 2, got {s_grid.shape}, {dnds.shape}"
        )
    if not (s_grid[0] > 0 and s_grid[-1] < np.inf and np.all(np.diff(s_grid) > 0)):
        raise InputError(f"{where}: the S grid must be positive, finite and rising")
    if np.any(dnds == np.inf):
        raise InputError(f"{where}: infinite counts: dN/dS is infinite at S = {s_grid[dnds == np.inf][0]:g}")
    if not np.all(dnds >= 0):
        at = np.flatnonzero(~(dnds >= 0))[0]
        raise InputError(f"{where}: dN/dS must not be negative or NaN, got {dnds[at]:g} at S = {s_grid[at]:g}")
    with np.errstate(over="ignore"):  # an upper bound of the integrals of dN/dS and of S dN/dS
        largest = np.maximum(s_grid[:-1] * dnds[:-1], s_grid[1:] * dnds[1:])
        bound = np.sum(largest * (np.diff(s_grid) + np.diff(np.log(s_grid))))
    if not bound < np.inf:
        raise InputError(f"{where}: infinite counts: the integral of S dN/dS is beyond the range of float64")
    return s_grid, dnds


def _pixel_table(pixels: Observation, exposure: np.ndarray) -> PixelTable:
    """The pixels as the kernel takes them, with their `exposure` (E, N / E)."""
    import healpy

    assert isinstance(pixels.grid, HealpixPixels)
    nside, pixel = pixels.grid.nside, pixels.by_bin(pixels.pixel)[0]
    x, y, face = healpy.pix2xyf(nside, pixel)
    return PixelTable(
        nside=nside,
        pixel=np.array(pixel, dtype=np.int64),
        face=np.asarray(face, dtype=np.int64),
        x=np.asarray(x, dtype=np.int64),
        y=np.asarray(y, dtype=np.int64),
        exposure=exposure,
        position=pixels.places,
    )


def _radii(psf: PSF) -> np.ndarray:
    """Radii for the kernel; zeros for the delta PSF."""
    if isinstance(psf, DeltaPSF):
        return np.zeros(RADIUS_NODES)
    radii = radius_table(psf.radius)
    width = float(np.rad2deg(psf.radius(np.array(0.68))))
    if not (np.all(np.isfinite(radii)) and width <= 90.0):
        raise InputError(
            f"psf: wider than the sphere: 68 % of the photons within {width:.4g} deg, expected below 90 deg"
        )
    return radii
