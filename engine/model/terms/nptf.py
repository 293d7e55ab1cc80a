"""The non-Poissonian likelihood of the counts (NPTF), for models with populations of point sources."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.citation import Citation
from gammasky.engine.kernels.nptf import op as nptf
from gammasky.engine.kernels.response.op import expected_sources
from gammasky.engine.model.terms.counts import CountsTerm
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.pixel_fractions import PixelFractions, pixel_fractions
from gammasky.engine.sky.response import Response

if TYPE_CHECKING:
    from gammasky.engine.model.expectation import Expectation
    from gammasky.engine.model.expected_sky import Sky


class NptfTerm(CountsTerm):
    """sum_p log p(k_p | mu_p, T_p, dN/dS): smooth mean mu_p, templates T_ip and source-count functions of populations.

    For one energy bin, and source-count functions of S; all else is `JointNptfTerm`.

    Source: arXiv:1104.0010, arXiv:1412.6099; see `engine.kernels.nptf.op`.
    """

    name = "nptf"
    citations = (
        Citation(
            "non-Poissonian template fitting",
            r"""
            @article{MishraSharma2017,
              author        = {Mishra-Sharma, Siddharth and Rodd, Nicholas L. and Safdi, Benjamin R.},
              title         = {{NPTFit}: A code package for Non-Poissonian Template Fitting},
              journal       = {The Astronomical Journal},
              volume        = {153},
              pages         = {253},
              year          = {2017},
              eprint        = {1612.03173},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "photon statistics of unresolved sources",
            r"""
            @article{Malyshev2011,
              author        = {Malyshev, Dmitry and Hogg, David W.},
              title         = {Statistics of gamma-ray point sources below the {Fermi} detection limit},
              journal       = {The Astrophysical Journal},
              volume        = {738},
              pages         = {181},
              year          = {2011},
              eprint        = {1104.0010},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "unresolved point sources in the inner Galaxy",
            r"""
            @article{Lee2016,
              author        = {Lee, Samuel K. and Lisanti, Mariangela and Safdi, Benjamin R. and Slatyer, Tracy R. and Xue, Wei},
              title         = {Evidence for Unresolved $\gamma$-Ray Point Sources in the Inner Galaxy},
              journal       = {Physical Review Letters},
              volume        = {116},
              pages         = {051103},
              year          = {2016},
              eprint        = {1506.05124},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
    )

    def __init__(self, expectation: Expectation, backend: str) -> None:
        self._responses: dict[int, tuple[Response, jax.Array]] = {}
        super().__init__(expectation, backend)

    def _look_at(self, counts: np.ndarray, *more: np.ndarray) -> None:
        """The response reaches as far as the counts of the observation or, for larger ones, to the next power of two:
        few programs serve all skies, and no last digit depends on which skies there were before."""
        super()._look_at(counts, *more)
        size = max(int(self.pixels.counts.max(initial=0)), 1)
        size = size if self.max_count <= size else 1 << self.max_count.bit_length()
        if size not in self._responses:
            response = self._response(size)
            regions, rows, nodes = response.matrix.shape
            self._responses[size] = response, jnp.asarray(response.matrix.reshape(regions * rows, nodes))
        self.response, matrix = self._responses[size]
        self.arrays |= {"response": matrix}

    def _response(self, max_count: int) -> Response:
        """The response up to `max_count` photons in a pixel."""
        grid, fractions = self.expectation.populations.s_grid, self._fractions
        return Response.build(grid, fractions.fraction, fractions.weight, self.pixels.exposure_ratios, max_count)

    @cached_property
    def _fractions(self) -> PixelFractions:
        return pixel_fractions(self.pixels.psf[0], self.pixels.grid)

    def expected_sources(self, dnds: jax.Array, arrays: Arrays) -> jax.Array:
        """X (I, R, M + 1) = response @ dN/dS: sources that put m photons in a pixel; row 0 is minus their total."""
        x = expected_sources(arrays["response"], dnds, backend=self.backend)
        return x.reshape(dnds.shape[0], self.pixels.exposure_ratios.size, -1)

    def kernel_point(self, sky: Sky, arrays: Arrays) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Evaluate what the kernel takes: smooth mean (P,), templates (I, P) and X (I, R, M + 1)."""
        size, dnds = self.pixels.n_fit, self.expectation.source_functions(sky)
        templates = self.expectation.source_templates(sky, size)
        return self.expectation.smooth_mean(sky, size), templates, self.expected_sources(dnds, arrays)

    def per_pixel(self, sky: Sky, arrays: Arrays) -> jax.Array:
        point = self.kernel_point(sky, arrays)
        looks = [nptf.pixel_log_likelihood(plan, *point, backend=self.backend) for plan in arrays["plans"]]
        return jnp.sum(jnp.stack(looks), axis=0)

    def log_density(self, sky: Sky, theta: Parameters, arrays: Arrays) -> jax.Array:
        del theta
        point = self.kernel_point(sky, arrays)
        looks = [nptf.total_log_likelihood(plan, *point, backend=self.backend) for plan in arrays["plans"]]
        return jnp.sum(jnp.stack(looks))

    def bunches(self, sky: Sky) -> np.ndarray:
        dnds = np.asarray(self.expectation.source_functions(sky))
        return np.asarray(np.einsum("rms,is->irm", self._wide_response.matrix, dnds))

    @cached_property
    def _wide_response(self) -> Response:
        """The response up to more photons than the brightest source of the grid ever puts in a pixel (by 12 sd)."""
        brightest = float(self.expectation.populations.s_grid[-1] * self.pixels.exposure_ratios.max())
        most = math.ceil(brightest + 12.0 * math.sqrt(brightest) + 40.0)
        return self.response if self.response.max_count >= most else self._response(most)
