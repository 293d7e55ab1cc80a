"""Source-count functions of flux brought to one grid of source counts, whatever the exposure.

A source of flux F has S = eps F expected photons where the exposure is eps. The probability K_m(S) to put m photons in
a pixel is known at fixed nodes of S, so that one matrix serves all regions and all spectra; the sources of each region
are brought to these nodes. With nodes of equal steps h in ln S and in ln F, those of F lie between those of S, all by
the same part of a step: there dN/dF is read off as a power law between its nodes, and ends are parts of a step. Fluxes
are kept: what rounding the ends leaves out is multiplied in again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ShiftedGrid(NamedTuple):
    """Nodes of S for exposures between two limits.

    Attributes:
        flux (S,) [cm^-2 s^-1]: nodes F, of equal steps in ln F.
        nodes (S',) [counts]: nodes S, of the same steps.
        exposure [cm^2 s]: at which the node F_0 is the node number `before` of S.
        before: that number.
    """

    flux: Floats
    nodes: Floats
    exposure: float
    before: int

    @classmethod
    def build(cls, flux: Floats, reference: float, lowest: float, highest: float) -> ShiftedGrid:
        """Nodes for exposures from `lowest` to `highest` [cm^2 s]; at `reference` nodes of F are nodes of S."""
        step = math.log(flux[-1] / flux[0]) / (len(flux) - 1)
        before, after = (math.ceil(max(math.log(ratio) / step, 0.0)) + 1 for ratio in (
            reference / lowest, highest / reference))  # fmt: skip
        beyond = step * np.arange(1, max(before, after) + 1)
        below, above = flux[0] * np.exp(-beyond[:before][::-1]), flux[-1] * np.exp(beyond[:after])
        return cls(flux, reference * np.concatenate([below, flux, above]), reference, before)

    @property
    def step(self) -> float:
        """h."""
        return math.log(self.flux[-1] / self.flux[0]) / (len(self.flux) - 1)

    def sources(self, dndf: jax.Array, exposure: jax.Array) -> jax.Array:
        """Numbers of sources at the nodes of S.

        Args:
            dndf (I, S) [sources per pixel per cm^-2 s^-1]: source-count functions.
            exposure (R,) [cm^2 s]: of each region, within the limits that the grid was built for.

        Returns:
            sources per pixel (I, R, S'), such that X_m = sum_j K_m(S_j) sources_j.
        """
        place = jnp.log(exposure / self.exposure) / self.step + self.before
        first = jnp.floor(place)
        parts = jax.vmap(lambda part: _between(jnp.asarray(self.flux), dndf, part, self.step), out_axes=1)(
            place - first
        )

        def put(local: jax.Array, start: jax.Array) -> jax.Array:
            whole = jnp.zeros((dndf.shape[0], len(self.nodes)))
            return jax.lax.dynamic_update_slice(whole, local, (0, start.astype(int)))

        return jax.vmap(put, in_axes=(1, 0), out_axes=1)(parts, first)


def _between(flux: jax.Array, dndf: jax.Array, part: jax.Array, step: float) -> jax.Array:
    """Sources (I, S + 1) at nodes that lie the `part` 0 to 1 of a step below those of F, and one step above the last.

    Node k is F_k exp(-part h). The first and the last only take their share of what is left at the ends.
    """
    size = flux.shape[0]
    nodes = flux[0] * jnp.exp(step * (jnp.arange(size + 1) - part))
    low, high = dndf[:, :-1], dndf[:, 1:]
    filled = (low > 0) & (high > 0)
    ratio = jnp.where(filled, high, 1.0) / jnp.where(filled, low, 1.0)
    inner = low * ratio ** (1.0 - part)  # at nodes 1 to S - 1
    widths = jnp.diff(nodes[1:-1])
    weights = 0.5 * (jnp.append(widths, 0.0) + jnp.append(jnp.zeros(1), widths))
    first, last = nodes[1] - flux[0], flux[-1] - nodes[-2]
    found = jnp.zeros((dndf.shape[0], size + 1)).at[:, 1:-1].set(weights * inner)
    for at, inside, outside, width, gap in (
        (0, 1, 0, first, nodes[1] - nodes[0]),
        (size - 1, size - 1, size, last, nodes[-1] - nodes[-2]),
    ):
        # between the end of F and the node inside: a trapezium, of which the end is shared by the nodes around it
        end, share = 0.5 * width * dndf[:, at], width / gap
        own = inner[:, 0 if at == 0 else -1]
        found = found.at[:, inside].add(0.5 * width * own + (1.0 - share) * end).at[:, outside].add(share * end)
    wanted = _trapezium(flux, flux * dndf)
    got = found @ nodes
    return found * jnp.where(got > 0, wanted / jnp.where(got > 0, got, 1.0), 1.0)[:, None]


def _trapezium(nodes: jax.Array, values: jax.Array) -> jax.Array:
    """Integral over the nodes of values (I, S)."""
    return 0.5 * (values[:, 1:] + values[:, :-1]) @ jnp.diff(nodes)
