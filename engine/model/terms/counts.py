"""The likelihood of the counts: what its two forms, with and without point sources, have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.simulate.compound import compound_counts
from gammasky.engine.model.terms.base import Term
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.simulator import checked_numbers

if TYPE_CHECKING:
    from gammasky.engine.model.expectation import Expectation
    from gammasky.engine.model.expected_sky import Sky


class CountsTerm(Term):
    """The log-likelihood of the counts in the fitted pixels, a sum over pixels.

    Args:
        expectation: of the model in these pixels.
        backend: of the kernels.

    Attributes:
        counts (P,): photons in the fitted pixels; of the first look, where there are several.
    """

    fractions: ClassVar[bool] = False  # whether counts need not be whole, as expected ones

    def __init__(self, expectation: Expectation, backend: str) -> None:
        self.expectation, self.pixels, self.backend = expectation, expectation.pixels, backend
        self.arrays: Arrays = {}
        if self.pixels.counts.dtype.kind == "f" and not self.fractions:
            names = ", ".join(f"'{name}'" for name in expectation.populations.names)
            raise InputError(
                f"the counts are expected ones (Asimov data), and point sources ({names}) have no likelihood of these: "
                "what a source gives is whole photons; leave the sources out, or simulate skies"
            )
        self._look_at(self.pixels.counts)

    @abstractmethod
    def per_pixel(self, sky: Sky, arrays: Arrays) -> jax.Array:
        """Log-likelihood of each fitted pixel (P,)."""

    @abstractmethod
    def bunches(self, sky: Sky) -> np.ndarray:
        """Expected numbers of sources that put m photons in a pixel (I, R, M + 1), for as many m as there may be."""

    def log_density(self, sky: Sky, theta: Parameters, arrays: Arrays) -> jax.Array:
        del theta
        return self.per_pixel(sky, arrays).sum()

    def with_counts(self, counts: np.ndarray, *more: np.ndarray) -> Self:
        """The same term for other counts (P,); with `more`, the sum over independent looks at the same sky.

        Raises:
            InputError: wrong shape, or a count that is negative or not whole; names the pixel.
        """
        other = copy.copy(self)
        other._look_at(counts, *more)
        return other

    def _look_at(self, counts: np.ndarray, *more: np.ndarray) -> None:
        n_regions = self.pixels.exposure_ratios.size
        plans = tuple(
            PixelPlan.build(np.asarray(look), self.pixels.region, n_regions, fractions=self.fractions)
            for look in (counts, *more)
        )
        self.counts = plans[0].counts
        self.max_count = max(plan.max_count for plan in plans)
        self.arrays = {**self.arrays, "plans": jax.tree.map(jnp.asarray, plans)}

    def explain(self, sky: Sky, theta: Parameters) -> str | None:
        del theta
        log_p = np.asarray(self.per_pixel(sky, self.arrays))
        if np.isfinite(log_p).all():
            return None
        pixels, pixel = self.pixels, int(np.argmin(np.isfinite(log_p)))
        mean = np.asarray(self.expectation.smooth_mean(sky, pixels.n_fit))
        number, own = int(pixels.pixel[pixel]), slice(pixel, None, len(log_p))  # in each bin that belongs to it
        counts, means = ", ".join(map(str, self.counts[own])), ", ".join(f"{value:.6g}" for value in mean[own])
        return (
            f"log-likelihood is {log_p[pixel]} in pixel {number} ({pixels.grid.name}, "
            f"l={pixels.lon_deg[pixel]:.2f}, b={pixels.lat_deg[pixel]:.2f}, count {counts}, smooth mean {means})"
        )

    def draw(self, sky: Sky, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, P) of the distribution that the likelihood assigns to the fitted pixels, each on its own.

        k_p = Poisson(mu_p) + sum_m m Poisson(sum_i T_ip X_{i,r,m}), with m up to where no source reaches. A sky depends
        on the seed and its number (first, first + 1, ...), not on how many are asked for.

        Raises:
            InputError: n, seed or an expected number out of range.
        """
        key, n, first = checked_numbers(n, seed, first)
        size = self.pixels.n_fit
        mean = np.asarray(self.expectation.smooth_mean(sky, size))
        templates = np.asarray(self.expectation.source_templates(sky, size))
        return compound_counts(mean, templates, self.bunches(sky), self.pixels.region, int(key), n, first)
