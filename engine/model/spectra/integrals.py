"""Integrals of spectra over energy bins, as logarithms: no exponential over- or underflows on the way to shares.

With x = ln E the photons between two energies are int f(E) E dx. For a power law this is elementary; for anything else
smooth, Gauss-Legendre quadrature in x converges faster than any power of the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from gammasky.engine.model.spectra.base import Edges

NODES = 64  # in each bin
SMALL = 0.1  # below which the series of log(sinh(y) / y) is exact to the last digit


def log_sinhc(y: jax.Array) -> jax.Array:
    """log(sinh(y) / y), for any y."""
    square = jnp.where(jnp.abs(y) < SMALL, y, 0.0) ** 2
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    size = jnp.where(jnp.abs(y) < SMALL, 1.0, jnp.abs(y))
    return jnp.where(jnp.abs(y) < SMALL, series, size - jnp.log(2 * size) + jnp.log1p(-jnp.exp(-2 * size)))


def log_mean_of_power_law(index: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """log of the mean over x = ln E, from `low` to `high`, of E dN/dE = exp((1 - index) x)."""
    slope = 1.0 - index
    return slope * 0.5 * (low + high) + log_sinhc(0.5 * slope * (high - low))


def log_integrals(log_spectrum: Callable[[jax.Array], jax.Array], edges_gev: Edges) -> jax.Array:
    """log int dN/dE dE over each bin (E,), by Gauss-Legendre quadrature in ln E.

    Args:
        log_spectrum: log dN/dE of energies [GeV], smooth within each bin.
        edges_gev (E + 1,) [GeV]: edges of the bins.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.log(edges_gev)
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    x = middle[:, None] + half[:, None] * nodes
    terms = log_spectrum(jnp.exp(x)) + x + np.log(half[:, None] * weights)
    return logsumexp(terms, axis=1)
