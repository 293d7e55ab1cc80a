"""The non-Poissonian likelihood of counts in several energy bins: every source shines in all of them."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood, total_joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_two_spectra.op import (
    require_few_photons,
    total_two_spectra_log_likelihood,
    two_spectra_log_likelihood,
)
from gammasky.engine.kernels.response.op import expected_sources
from gammasky.engine.kernels.simulate.compound import compound_counts
from gammasky.engine.model.terms.counts import CountsTerm
from gammasky.engine.model.terms.nptf import NptfTerm
from gammasky.engine.model.terms.shifted_grid import ShiftedGrid
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.pixel_fractions import PixelFractions, pixel_fractions
from gammasky.engine.sky.psf import mixed_psf
from gammasky.engine.sky.response import Response
from gammasky.engine.sky.simulator import checked_numbers

if TYPE_CHECKING:
    from gammasky.engine.model.expectation import Expectation
    from gammasky.engine.model.expected_sky import Sky

#: Smooth mean (E, P), templates (I, P), X (I, R, M + 1) and the share of a source's photons in each bin, by spectrum
#: (1 or 2, R, E).
JointPoint = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class JointNptfTerm(CountsTerm):
    """sum_p log P(k_p1 .. k_pE | mu_p, T_p, dN/dF, phi): the counts of all energy bins of a pixel of the sky together.

    A source of flux F [cm^-2 s^-1] in all bins together has the share s_e of it in bin e. In exposure region r it has

        S = eps_r F,    eps_r = sum_e s_e eps_{r,e},    phi_{r,e} = s_e eps_{r,e} / eps_r

    expected photons in all bins, of which the part phi_{r,e} falls in bin e. X_{r,m} = int dF dN/dF K_m(eps_r F) is
    made with one matrix for all regions (`ShiftedGrid`); the rest is `kernels.nptf_energy`, which is exact, or where
    the populations have two spectra `kernels.nptf_two_spectra`, exact too, at the cube of the counts.

    One thing is approximate: the fraction f of a source's photons that a pixel receives is taken to be the same in all
    bins, that of the mean of their point-spread functions, weighted with the photons of a source in each at the middle
    of the priors. Where the point-spread function depends on energy, sources far from a pixel give it softer photons.

    Source: arXiv:1104.0010 for the generating function; the sum over bins is ours, see `engine.kernels.nptf_energy.op`.
    """

    name = "nptf in several energy bins"
    citations = NptfTerm.citations

    def __init__(self, expectation: Expectation, backend: str) -> None:
        pixels = expectation.pixels
        self.n_bins = pixels.n_energy
        self.n_regions = pixels.exposure_ratios.size // self.n_bins
        self.region = pixels.region[: pixels.n_fit // self.n_bins]
        populations = expectation.populations.rows
        spectra = [population.spectrum for population in populations]
        distinct = [spectrum for number, spectrum in enumerate(spectra) if spectrum not in spectra[:number]]
        self._kinds = tuple(distinct.index(spectrum) for spectrum in spectra)
        self._first = [populations[self._kinds.index(kind)] for kind in range(len(distinct))]
        ratios = pixels.exposure_ratios.reshape(self.n_bins, self.n_regions)
        self._exposure = np.ascontiguousarray((ratios * pixels.reference_exposure[:, None]).T)  # (R, E)
        self._grid = ShiftedGrid.build(
            expectation.populations.s_grid,
            float(expectation.bins.source_exposure(self._first[0], expectation.middle)),
            float(self._exposure.min()),
            float(self._exposure.max()),
        )
        self._matrices: dict[int, tuple[jax.Array, ...]] = {}
        super().__init__(expectation, backend)

    def _look_at(self, counts: np.ndarray, *more: np.ndarray) -> None:
        """Plan as with one energy bin, so that few programs serve all skies and no result depends on earlier ones."""
        plans = tuple(JointPlan.build(self._by_bin(look), self.region, self.n_regions) for look in (counts, *more))
        if len(self._first) > 1:
            for plan in plans:
                require_few_photons(plan)
        self.counts = plans[0].bins.ravel()
        self.max_count = max(plan.totals.max_count for plan in plans)
        size = max(int(self._by_bin(self.pixels.counts).sum(axis=0).max(initial=0)), 1)
        size = size if self.max_count <= size else 1 << self.max_count.bit_length()
        if size not in self._matrices:
            self._matrices[size] = tuple(jnp.asarray(matrix) for matrix in self._matrices_to(size))
        self.arrays = {"plans": jax.tree.map(jnp.asarray, plans), "response": self._matrices[size]}
        self.arrays |= {"exposure": jnp.asarray(self._exposure)}

    def _by_bin(self, counts: np.ndarray) -> np.ndarray:
        """Counts (E, P) from those of the fitted pixels one bin after the other."""
        counts = np.asarray(counts)
        if counts.shape != (self.pixels.n_fit,):
            raise InputError(f"counts: expected shape ({self.pixels.n_fit},), all energy bins, got {counts.shape}")
        return counts.reshape(self.n_bins, -1)

    def _matrices_to(self, max_count: int) -> list[np.ndarray]:
        """K_m(S_j) (max_count + 1, S') of each spectrum: expected pixels with m photons of a source; row 0 is minus the
        sum."""
        found = []
        for fractions in self._fractions:
            response = Response.build(self._grid.nodes, fractions.fraction, fractions.weight, [1.0], max_count)
            found.append(np.asarray(response.matrix[0] / response.quadrature))
        return found

    @cached_property
    def _fractions(self) -> list[PixelFractions]:
        """The pixel fractions of each spectrum, whose shares of the bins are those in the middle of the priors."""
        bins, middle = self.expectation.bins, self.expectation.middle
        shares = [np.asarray(bins.source_shares(population, middle)) for population in self._first]
        return [pixel_fractions(mixed_psf(self.pixels.psf, share), self.pixels.grid) for share in shares]

    def _photons(self, sky: Sky, exposure: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        """eps_r (R,) [cm^2 s], and phi_{r,e} (R, E), of each spectrum."""
        found = []
        for population in self._first:
            shares = sky.shares.get(population.name, jnp.ones(1))
            total = exposure @ shares
            found.append((total, shares * exposure / total[:, None]))
        return found

    def _by_population(self, parts: list[jax.Array]) -> jax.Array:
        """Rows (I, ...) in the order of the populations, from those of each spectrum."""
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.argsort(self._kinds, kind="stable"), kind="stable")
        return jnp.concatenate(parts)[order]

    def _sources(self, sky: Sky, photons: list[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
        """Sources per pixel at the nodes of S (I', R, S') of the I' populations of each spectrum."""
        dndf, kinds = self.expectation.source_functions(sky), np.array(self._kinds)
        several = len(photons) > 1
        return [
            self._grid.sources(dndf[np.flatnonzero(kinds == kind)] if several else dndf, exposure)
            for kind, (exposure, _) in enumerate(photons)
        ]

    def kernel_point(self, sky: Sky, arrays: Arrays) -> JointPoint:
        """Evaluate what the kernel takes."""
        size, photons = self.pixels.n_fit, self._photons(sky, arrays["exposure"])
        x = []
        for sources, response in zip(self._sources(sky, photons), arrays["response"], strict=True):
            flat = sources.reshape(-1, sources.shape[-1])
            of_kind = expected_sources(response, flat, backend=self.backend)
            x.append(of_kind.reshape(*sources.shape[:2], -1))
        mean = self.expectation.smooth_mean(sky, size).reshape(self.n_bins, -1)
        templates = self.expectation.source_templates(sky, size)
        return mean, templates, self._by_population(x), jnp.stack([spectrum for _, spectrum in photons])

    def per_pixel(self, sky: Sky, arrays: Arrays) -> jax.Array:
        """Log-likelihood of each pixel of the sky (P,), of its counts in all energy bins."""
        mean, templates, x, spectra = self.kernel_point(sky, arrays)

        def one_look(plan: JointPlan) -> jax.Array:
            if len(self._first) == 1:
                return joint_log_likelihood(plan, mean, templates, x, spectra[0], backend=self.backend)
            return two_spectra_log_likelihood(plan, self._kinds, mean, templates, x, spectra, backend=self.backend)

        return jnp.sum(jnp.stack([one_look(plan) for plan in arrays["plans"]]), axis=0)

    def log_density(self, sky: Sky, theta: Parameters, arrays: Arrays) -> jax.Array:
        del theta
        mean, templates, x, spectra = self.kernel_point(sky, arrays)

        def one_look(plan: JointPlan) -> jax.Array:
            if len(self._first) == 1:
                return total_joint_log_likelihood(plan, mean, templates, x, spectra[0], backend=self.backend)
            return total_two_spectra_log_likelihood(
                plan, self._kinds, mean, templates, x, spectra, backend=self.backend
            )

        return jnp.sum(jnp.stack([one_look(plan) for plan in arrays["plans"]]))

    def bunches(self, sky: Sky) -> np.ndarray:
        photons = self._photons(sky, jnp.asarray(self._exposure))
        parts = [
            jnp.asarray(np.einsum("ms,irs->irm", matrix, np.asarray(sources)))
            for matrix, sources in zip(self._wide_matrices, self._sources(sky, photons), strict=True)
        ]
        return np.asarray(self._by_population(parts))

    @cached_property
    def _wide_matrices(self) -> list[np.ndarray]:
        """The matrices up to more photons than the brightest source of the grid ever puts in a pixel (by 12 sd)."""
        brightest = float(self._grid.flux[-1] * self._exposure.max())
        return self._matrices_to(math.ceil(brightest + 12.0 * math.sqrt(brightest) + 40.0))

    def draw(self, sky: Sky, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, E P) of the distribution that the likelihood assigns to the fitted pixels, each on its own.

        The photons of sources in a pixel, as of one energy bin, are shared out among the bins; the smooth ones are
        Poisson in each. A sky depends on the seed and its number (first, first + 1, ...), not on how many are asked
        for.

        Raises:
            InputError: n, seed or an expected number out of range.
        """
        key, n, first = checked_numbers(n, seed, first)
        size, no_mean = self.pixels.n_fit, np.zeros(len(self.region))
        mean = np.asarray(self.expectation.smooth_mean(sky, size))
        templates = np.asarray(self.expectation.source_templates(sky, size))
        nothing, none = np.zeros((0, size)), np.zeros((0, 1, 2))
        counts = compound_counts(mean, nothing, none, np.zeros(size, dtype=np.int64), int(key), n, first)
        bunches, kinds = self.bunches(sky), np.array(self._kinds)
        generators = [np.random.Generator(np.random.Philox(key=np.array([key, first + j], dtype=np.uint64)))
                      for j in range(n)]  # fmt: skip
        for kind, (_, spectrum) in enumerate(self._photons(sky, jnp.asarray(self._exposure))):
            own = np.flatnonzero(kinds == kind)
            # the sources of each spectrum have random numbers of their own
            of_kind = int(key) if kind == 0 else int(np.random.SeedSequence([int(key), kind]).generate_state(1)[0])
            photons = compound_counts(no_mean, templates[own], bunches[own], self.region, of_kind, n, first)
            shares = np.asarray(spectrum)[self.region]
            for number, generator in enumerate(generators):
                counts[number] += generator.multinomial(photons[number], shares).T.ravel()
        return counts
