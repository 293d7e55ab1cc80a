"""Photons of simulated skies on a projected grid, in NumPy: sources one by one, every photon displaced on the sphere.

The kernel for HEALPix pixels finds a pixel from a direction in a few operations; a projection needs its WCS.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gammasky.engine.kernels.simulate.cpu import Sources
from gammasky.engine.kernels.simulate.tables import LARGEST_W, SourceTable
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixel_fractions import displaced
from gammasky.engine.sky.pixels import ProjectedPixels
from gammasky.engine.sky.pixels.frames import vectors_of


class ProjectedSky:
    """Draws skies in the pixels of a projected grid.

    Args:
        pixels: the region and the pixels around it.
        radii (K,) [rad]: from `tables.radius_table`, or (0,) for photons that stay in the pixel of their source.
    """

    def __init__(self, pixels: Observation, radii: np.ndarray) -> None:
        assert isinstance(pixels.grid, ProjectedPixels)
        self.pixels, self.grid, self._radii = pixels, pixels.grid, radii
        self._position = np.full(pixels.n_energy * pixels.grid.n_pixels, -1, dtype=np.int64)
        self._position[pixels.index[: pixels.n_region]] = np.arange(pixels.n_region)

    def draw(
        self, mean: np.ndarray, tables: Mapping[int, SourceTable], seed: int, sky: int
    ) -> tuple[np.ndarray, list[Sources]]:
        """Counts (n_region,) of one sky, and the sources of each population.

        Args:
            mean (n_region,): smooth mean.
            tables: of the populations, by their number.
            seed, sky: a sky depends on these alone.
        """
        generator = np.random.default_rng([seed, sky])
        counts = generator.poisson(mean).astype(np.int64)
        drawn = [self._population(table, generator, counts) for table in tables.values()]
        return counts, drawn

    def _population(self, table: SourceTable, generator: np.random.Generator, counts: np.ndarray) -> Sources:
        """The sources of a population, whose photons are added to `counts`."""
        n = int(generator.poisson(table.expected))
        place = np.searchsorted(table.running_sources, generator.random(n) * table.running_sources[-1], side="right")
        cell = np.searchsorted(table.running_cells, generator.random(n) * table.running_cells[-1], side="right")
        decay, u = table.decay[cell], generator.random(n)
        flat = decay < 1e-300
        t = np.where(flat, u, -np.log1p(u * np.expm1(-decay)) / np.where(flat, 1.0, decay))
        s = table.origin[cell] * np.exp(table.step[cell] * t)
        row, column = np.divmod(self.pixels.pixel[place], self.grid.shape[1])
        offset = generator.random((2, n)) - 0.5
        centre = vectors_of(*self.grid.at(column + offset[0], row + offset[1]))
        photons = generator.poisson(s * self.pixels.source_exposure[place])
        self._scatter(place, centre, photons, generator, counts)
        x, y, z = centre.T
        return Sources(place, z, np.hypot(x, y), np.arctan2(y, x), s, photons)

    def _scatter(
        self,
        place: np.ndarray,
        centre: np.ndarray,
        photons: np.ndarray,
        generator: np.random.Generator,
        counts: np.ndarray,
    ) -> None:
        """Find the pixel of every photon; those beyond the counted pixels are lost."""
        source = np.repeat(np.arange(len(place)), photons)
        if self._radii.size:
            w = np.sqrt(generator.standard_exponential(len(source)))
            radius = np.interp(w, np.linspace(0.0, LARGEST_W, self._radii.size), self._radii)
            angle = 2 * np.pi * generator.random(len(source))
            there = np.stack(displaced(np, centre[source], radius[:, None], angle[:, None]), axis=-1)[:, 0]
            pixel = self.grid.find(there, self.grid.frame)
        else:
            pixel = self.pixels.pixel[place[source]]
        offset = self.pixels.energy_bin[place[source]] * self.grid.n_pixels
        found = np.where(pixel >= 0, self._position[offset + np.maximum(pixel, 0)], -1)
        counts += np.bincount(found + 1, minlength=len(counts) + 1)[1:]  # entry 0 is the lost photons
