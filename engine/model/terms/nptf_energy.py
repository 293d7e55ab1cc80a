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

#: Smooth mean (E, P), templates (I, P), X (I, R, M + 1) and the share of a source's photons in each bin (R, E).
JointPoint = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class JointNptfTerm(CountsTerm):
    """sum_p log P(k_p1 .. k_pE | mu_p, T_p, dN/dF, phi): the counts of all energy bins of a pixel of the sky together.

    A source of flux F [cm^-2 s^-1] in all bins together has the share s_e of it in bin e. In exposure region r it has

        S = eps_r F,    eps_r = sum_e s_e eps_{r,e},    phi_{r,e} = s_e eps_{r,e} / eps_r

    expected photons in all bins, of which the part phi_{r,e} falls in bin e. X_{r,m} = int dF dN/dF K_m(eps_r F) is
    made with one matrix for all regions and spectra (`ShiftedGrid`); the rest is `kernels.nptf_energy`, which is exact.

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
        ratios = pixels.exposure_ratios.reshape(self.n_bins, self.n_regions)
        self._exposure = np.ascontiguousarray((ratios * pixels.reference_exposure[:, None]).T)  # (R, E)
        self._grid = ShiftedGrid.build(
            expectation.populations.s_grid,
            float(expectation.bins.source_exposure(expectation.populations.components[0], expectation.middle)),
            float(self._exposure.min()),
            float(self._exposure.max()),
        )
        self._matrices: dict[int, jax.Array] = {}
        super().__init__(expectation, backend)

    def _look_at(self, counts: np.ndarray, *more: np.ndarray) -> None:
        """As of one energy bin: few programs serve all skies, and no last digit depends on skies before."""
        plans = tuple(JointPlan.build(self._by_bin(look), self.region, self.n_regions) for look in (counts, *more))
        self.counts = plans[0].bins.ravel()
        self.max_count = max(plan.totals.max_count for plan in plans)
        size = max(int(self._by_bin(self.pixels.counts).sum(axis=0).max(initial=0)), 1)
        size = size if self.max_count <= size else 1 << self.max_count.bit_length()
        if size not in self._matrices:
            self._matrices[size] = jnp.asarray(self._matrix(size))
        self.arrays = {"plans": jax.tree.map(jnp.asarray, plans), "response": self._matrices[size]}
        self.arrays |= {"exposure": jnp.asarray(self._exposure)}

    def _by_bin(self, counts: np.ndarray) -> np.ndarray:
        """Counts (E, P) from those of the fitted pixels one bin after the other."""
        counts = np.asarray(counts)
        if counts.shape != (self.pixels.n_fit,):
            raise InputError(f"counts: expected shape ({self.pixels.n_fit},), all energy bins, got {counts.shape}")
        return counts.reshape(self.n_bins, -1)

    def _matrix(self, max_count: int) -> np.ndarray:
        """K_m(S_j) (max_count + 1, S'): expected pixels with m photons of a source; row 0 is minus the sum."""
        fractions = self._fractions
        response = Response.build(self._grid.nodes, fractions.fraction, fractions.weight, [1.0], max_count)
        return np.asarray(response.matrix[0] / response.quadrature)

    @cached_property
    def _fractions(self) -> PixelFractions:
        return pixel_fractions(mixed_psf(self.pixels.psf, self._nominal_shares()), self.pixels.grid)

    def _nominal_shares(self) -> np.ndarray:
        """The share of a source's photons in each bin (E,) where every parameter is in the middle of its prior."""
        population = self.expectation.populations.components[0]
        return np.asarray(self.expectation.bins.source_shares(population, self.expectation.middle))

    def _photons(self, sky: Sky, exposure: jax.Array) -> tuple[jax.Array, jax.Array]:
        """eps_r (R,) [cm^2 s], and phi_{r,e} (R, E)."""
        population = self.expectation.populations.components[0]  # all have its spectrum
        shares = sky.shares.get(population.name, jnp.ones(1))
        total = exposure @ shares
        return total, shares * exposure / total[:, None]

    def kernel_point(self, sky: Sky, arrays: Arrays) -> JointPoint:
        """Evaluate what the kernel takes."""
        size, dndf = self.pixels.n_fit, self.expectation.source_functions(sky)
        exposure, spectrum = self._photons(sky, arrays["exposure"])
        sources = self._grid.sources(dndf, exposure)
        flat = sources.reshape(-1, sources.shape[-1])
        x = expected_sources(arrays["response"], flat, backend=self.backend)
        mean = self.expectation.smooth_mean(sky, size).reshape(self.n_bins, -1)
        templates = self.expectation.source_templates(sky, size)
        return mean, templates, x.reshape(*sources.shape[:2], -1), spectrum

    def per_pixel(self, sky: Sky, arrays: Arrays) -> jax.Array:
        """Log-likelihood of each pixel of the sky (P,), of its counts in all energy bins."""
        point = self.kernel_point(sky, arrays)
        looks = [joint_log_likelihood(plan, *point, backend=self.backend) for plan in arrays["plans"]]
        return jnp.sum(jnp.stack(looks), axis=0)

    def log_density(self, sky: Sky, theta: Parameters, arrays: Arrays) -> jax.Array:
        del theta
        point = self.kernel_point(sky, arrays)
        looks = [total_joint_log_likelihood(plan, *point, backend=self.backend) for plan in arrays["plans"]]
        return jnp.sum(jnp.stack(looks))

    def bunches(self, sky: Sky) -> np.ndarray:
        exposure, _ = self._photons(sky, jnp.asarray(self._exposure))
        sources = self._grid.sources(self.expectation.source_functions(sky), exposure)
        return np.asarray(np.einsum("ms,irs->irm", self._wide_matrix, np.asarray(sources)))

    @cached_property
    def _wide_matrix(self) -> np.ndarray:
        """The matrix up to more photons than the brightest source of the grid ever puts in a pixel (by 12 sd)."""
        brightest = float(self._grid.flux[-1] * self._exposure.max())
        return self._matrix(math.ceil(brightest + 12.0 * math.sqrt(brightest) + 40.0))

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
        smooth = compound_counts(mean, nothing, none, np.zeros(size, dtype=np.int64), int(key), n, first)
        photons = compound_counts(no_mean, templates, self.bunches(sky), self.region, int(key), n, first)
        spectrum = np.asarray(self._photons(sky, jnp.asarray(self._exposure))[1])[self.region]
        for number in range(n):
            generator = np.random.Generator(np.random.Philox(key=np.array([key, first + number], dtype=np.uint64)))
            smooth[number] += generator.multinomial(photons[number], spectrum).T.ravel()
        return smooth
