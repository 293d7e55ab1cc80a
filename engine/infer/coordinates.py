"""Coordinates in which the posterior has the same width everywhere, for samplers that move by gradients.

Counts are linear in the norms of components, so the likelihood fixes sums of norms to the same precision wherever the
norms are. On the latent scale z of a uniform prior it does not look so: dS/dz is small near the lower limit, where the
norm of a component is that the data do not need, and a sum that is fixed to one per cent becomes a narrow, bent valley.
A step that is stable in its narrowest part is far too short elsewhere. Here

- the norm of a component is its own coordinate, but for soft ends: with u the prior's quantile of S,
  u = s softplus((x + 1/2) / s) - s softplus((x - 1/2) / s), which is x + 1/2 between the limits and approaches them
  exponentially beyond; x has the width of the prior as its unit, and s is 1/40;
- a component of two templates with norm S and share f has the fluxes of the two as coordinates,
  S f = s softplus(x_1 / s) and S (1 - f) = s softplus(x_2 / s) in that unit: f alone means nothing where S is small;
- everything else stays on its latent scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from numpy.typing import NDArray

from gammasky.engine.model.priors import Uniform
from gammasky.engine.model.spec import MixTemplate
from gammasky.engine.model.uses import component_uses

if TYPE_CHECKING:
    from gammasky.engine.model import SkyModel

_SOFT = 1 / 40  # s: width of the ends, of the prior's range
_LOG_ROOT = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class Coordinates:
    """A map between coordinates x (D,) and the latent z (D,).

    Attributes:
        norms: axes that hold a norm; norm, share: axes that hold norm and share of a component of two templates, whose
            fluxes take their places. All others are the same in x and z.
    """

    norms: NDArray[np.int64]
    norm: NDArray[np.int64]
    share: NDArray[np.int64]

    def to_latent(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """z, and log |dz / dx|. NaN where the two fluxes add up to more than the prior allows."""
        ends = x[self.norms]
        lower = jnp.where(ends < 0, ends, -ends)  # the map is odd: its upper half from its lower, where 1 - u is exact
        u = _SOFT * (jax.nn.softplus((lower + 0.5) / _SOFT) - jax.nn.softplus((lower - 0.5) / _SOFT))
        z = jnp.where(ends < 0, 1.0, -1.0) * ndtri(u)
        log_slope = jax.nn.log_sigmoid((0.5 + ends) / _SOFT) + jax.nn.log_sigmoid((0.5 - ends) / _SOFT)
        log_slope += np.log1p(-np.exp(-1 / _SOFT))
        first, second = x[self.share], x[self.norm]
        fluxes = _SOFT * jax.nn.softplus(first / _SOFT), _SOFT * jax.nn.softplus(second / _SOFT)
        total = fluxes[0] + fluxes[1]
        log_slopes = jax.nn.log_sigmoid(first / _SOFT) + jax.nn.log_sigmoid(second / _SOFT) - jnp.log(total)
        moved = jnp.concatenate([z, ndtri(total), ndtri(fluxes[0] / total)])
        places = np.concatenate([self.norms, self.norm, self.share])
        log_volume = jnp.sum(log_slope) + jnp.sum(log_slopes) + jnp.sum(0.5 * moved**2 + _LOG_ROOT)
        return x.at[places].set(moved), log_volume

    def from_latent(self, z: jax.Array) -> jax.Array:
        """x of a latent z."""
        u, rest = ndtr(z[self.norms]), ndtr(-z[self.norms])
        ends = -0.5 + _SOFT * (_log_expm1(u / _SOFT) - jnp.log(-jnp.expm1(-rest / _SOFT)))
        total = ndtr(z[self.norm])
        first, second = total * ndtr(z[self.share]), total * ndtr(-z[self.share])
        fluxes = _SOFT * _log_expm1(first / _SOFT), _SOFT * _log_expm1(second / _SOFT)
        return z.at[self.norms].set(ends).at[self.share].set(fluxes[0]).at[self.norm].set(fluxes[1])


def _log_expm1(v: jax.Array) -> jax.Array:
    return v + jnp.log(-jnp.expm1(-v))


def latent_coordinates() -> Coordinates:
    """The latent space itself."""
    nothing = np.zeros(0, dtype=np.int64)
    return Coordinates(nothing, nothing, nothing)


def flux_coordinates(model: SkyModel) -> Coordinates:
    """Those of a model: of components whose norm has a uniform prior and is in no other place of the model."""
    axis = {
        name: slot.start
        for name, slot in model.latent.slots.items()
        if isinstance(slot.prior, Uniform) and not slot.labels
    }
    used = [name for component in model.spec.components for name, _, _ in component_uses(component)]
    norms, pairs = [], []
    for component in model.spec.components:
        norm, template = component.norm, component.template
        if not isinstance(norm, str) or norm not in axis or used.count(norm) > 1:
            continue
        share = template.fractions if isinstance(template, MixTemplate) else None
        if isinstance(share, str) and share in axis and used.count(share) == 1 and _is_share(model, share):
            pairs.append((axis[norm], axis[share]))
        else:
            norms.append(axis[norm])
    norm_axes, share_axes = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Coordinates(np.array(norms, dtype=np.int64), norm_axes, share_axes)


def _is_share(model: SkyModel, name: str) -> bool:
    """Whether the prior of a share of two templates is uniform from 0 to 1."""
    return model.latent.slots[name].prior.support() == (0.0, 1.0)
