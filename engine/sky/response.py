"""From source-count functions to counts: the response is linear in dN/dS, so it is one matrix per dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gammasky.engine.errors import InputError

LARGEST_MATRIX = 1024**3  # bytes; that of arXiv:2604.08648 takes 6 MB


@dataclass(frozen=True, eq=False)
class Response:
    """X_{r,m} = sum_s matrix[r, m, s] (dN/dS)(S_s): expected number of sources that put m photons in a pixel.

    Args:
        s_grid (S,) [counts]: expected counts of a source at mean exposure.
        quadrature (S,) [counts]: trapezoidal weights, int g dS = sum(quadrature * g).
        exposure_ratios (R,): exposure of each region over the mean.
        max_count: largest m.
        matrix (R, max_count + 1, S): row m >= 1 as above; row 0 is minus the sum over all m >= 1, beyond `max_count`
            too, so that x_0 = -mu + sum_i T_i X_{i,0}.
    """

    s_grid: np.ndarray
    quadrature: np.ndarray
    exposure_ratios: np.ndarray
    max_count: int
    matrix: np.ndarray

    @classmethod
    def build(
        cls,
        s_grid: Sequence[float] | np.ndarray,
        fractions: Sequence[float] | np.ndarray,
        fraction_weights: Sequence[float] | np.ndarray,
        exposure_ratios: Sequence[float] | np.ndarray,
        max_count: int,
    ) -> Response:
        """matrix[r, m, s] = w_s sum_f weight_f Pois(m | f eps_r S_s), w_s the trapezoidal weight.

        The total in row 0 comes from -expm1(-f eps S), never as a difference of two large numbers.

        Args:
            s_grid (S,) [counts]: rising, non-negative, at least two nodes.
            fractions (F,): share of a source's photons in a pixel, in (0, 1].
            fraction_weights (F,): expected number of pixels with that share.
            exposure_ratios (R,): exposure of each region over the mean, positive.
            max_count: largest count, at least 0.

        Returns:
            the response, with a matrix of 8 R (max_count + 1) S bytes.

        Raises:
            InputError: an argument that does not fit; the message names it.

        Source: Malyshev & Hogg, arXiv:1104.0010; Lee et al., arXiv:1412.6099, for the PSF.
        """
        from gammasky.engine.kernels.response.matrix import fill_response

        grid = _numbers("s_grid", s_grid)
        shares = _numbers("fractions", fractions)
        weights = _numbers("fraction_weights", fraction_weights)
        ratios = _numbers("exposure_ratios", exposure_ratios)
        _check(grid, shares, weights, ratios, max_count)
        _check_size(len(ratios), int(max_count), len(grid))
        quadrature = trapezoid_weights(grid)
        matrix = np.empty((len(ratios), int(max_count) + 1, len(grid)))
        fill_response(grid, quadrature, shares, weights, ratios, matrix)
        return cls(grid, quadrature, ratios, int(max_count), matrix)


def trapezoid_weights(nodes: np.ndarray) -> np.ndarray:
    """Weights (n,) of the trapezoidal rule on `nodes` (n,)."""
    half_steps = np.diff(nodes) / 2
    return np.concatenate([half_steps, [0.0]]) + np.concatenate([[0.0], half_steps])


def _numbers(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise InputError(f"response: {name} must be a list of finite numbers, got shape {array.shape} or NaN in it")
    return array


def _check(grid: np.ndarray, shares: np.ndarray, weights: np.ndarray, ratios: np.ndarray, max_count: int) -> None:
    if len(grid) < 2 or grid[0] < 0 or (np.diff(grid) <= 0).any():
        raise InputError("response: s_grid must have at least two nodes, non-negative and rising; sort it")
    if (shares <= 0).any() or (shares > 1 + 1e-12).any():
        raise InputError(f"response: fractions must be in (0, 1], got {shares.min():g} to {shares.max():g}")
    if weights.shape != shares.shape or (weights < 0).any():
        raise InputError(
            f"response: fraction_weights must be {len(shares)} non-negative numbers, one for each fraction"
        )
    if (ratios <= 0).any():
        raise InputError(f"response: exposure_ratios must be positive, got {ratios.min():g}")
    if isinstance(max_count, bool) or max_count != int(max_count) or max_count < 0:
        raise InputError(f"response: max_count must be a whole number of at least 0, got {max_count}")


def _check_size(n_regions: int, max_count: int, n_nodes: int) -> None:
    size = 8 * n_regions * (max_count + 1) * n_nodes
    if size > LARGEST_MATRIX:
        raise InputError(
            f"response: {n_regions} exposure regions, max_count {max_count} and {n_nodes} nodes of S need "
            f"{size / 1024**3:.1f} GiB, expected at most {LARGEST_MATRIX / 1024**3:.0f}; "
            "mask the brightest pixels, or use fewer regions or nodes"
        )
