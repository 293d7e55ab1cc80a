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
        radii (E, K) [rad]: of each energy bin from `tables.radius_table`, or zeros for photons that stay in the pixel
            of their source.
    """

    def __init__(self, pixels: Observation, radii: np.ndarray) -> None:
        assert isinstance(pixels.grid, ProjectedPixels)
        self.pixels, self.grid, self._radii = pixels, pixels.grid, radii
        self._pixel, self._exposure = pixels.by_bin(pixels.pixel)[0], pixels.by_bin(pixels.source_exposure)
        self._position = pixels.places

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
        row, column = np.divmod(self._pixel[place], self.grid.shape[1])
        offset = generator.random((2, n)) - 0.5
        centre = vectors_of(*self.grid.at(column + offset[0], row + offset[1]))
        photons = np.empty((n, len(table.shares)), dtype=np.int64)
        for e, share in enumerate(table.shares):
            photons[:, e] = generator.poisson(s * share * self._exposure[e, place])
            self._scatter(e, place, centre, photons[:, e], generator, counts)
        x, y, z = centre.T
        return Sources(place, z, np.hypot(x, y), np.arctan2(y, x), s, photons)

    def _scatter(
        self,
        energy_bin: int,
        place: np.ndarray,
        centre: np.ndarray,
        photons: np.ndarray,
        generator: np.random.Generator,
        counts: np.ndarray,
    ) -> None:
        """Find the pixel of every photon of one energy bin; those beyond the counted pixels are lost."""
        source, radii = np.repeat(np.arange(len(place)), photons), self._radii[energy_bin]
        if radii[-1] > 0:
            w = np.sqrt(generator.standard_exponential(len(source)))
            radius = np.interp(w, np.linspace(0.0, LARGEST_W, radii.size), radii)
            angle = 2 * np.pi * generator.random(len(source))
            there = np.stack(displaced(np, centre[source], radius[:, None], angle[:, None]), axis=-1)[:, 0]
            pixel = self.grid.find(there, self.grid.frame)
        else:
            pixel = self._pixel[place[source]]
        found = np.where(pixel >= 0, self._position[energy_bin, np.maximum(pixel, 0)], -1)
        counts += np.bincount(found + 1, minlength=len(counts) + 1)[1:]  # entry 0 is the lost photons
