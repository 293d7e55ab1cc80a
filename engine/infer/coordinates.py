"""Coordinates in which the posterior has the same width everywhere, for samplers that move by gradients.

Counts are linear in the norms of components, so the likelihood fixes sums of norms to the same precision wherever the
norms are. On the latent scale z of a uniform prior it does not look so: dS/dz is small near the lower limit, where the
norm of a component is that the data do not need, and a sum that is fixed to one per cent becomes a narrow, bent valley.
A step that is stable in its narrowest part is far too short elsewhere. Here

- the norm of a component is its own coordinate, but for soft ends: with u the prior's quantile of S,
  u = s softplus((x + 1/2) / s) - s softplus((x - 1/2) / s), which is x + 1/2 between the limits and approaches them
  exponentially beyond; x has the width of the prior as its unit, and s is 1/40;
- a component of two templates with norm S and share f has the fluxes of the two as coordinates,
  S f = g softplus(x_1 / s) and S (1 - f) = g softplus(x_2 / s) in that unit, with one factor g that keeps S below 1:
  f alone means nothing where S is small;
- the amplitude A of a population (dN/dS at its highest break, log-uniform) is replaced by its mean counts: the data
  fix those, and A follows slopes and breaks along a bent valley over many powers of ten. x is that of a norm, with
  ln(counts per pixel) - ln(those of A = 1) in place of ln A;
- everything else stays on its latent scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from numpy.typing import NDArray

from gammasky.engine.model.priors import LogUniform, Uniform
from gammasky.engine.model.spec import Component, MixTemplate
from gammasky.engine.model.uses import component_uses

if TYPE_CHECKING:
    from gammasky.engine.infer.optimise import Laplace
    from gammasky.engine.model import SkyModel
    from gammasky.engine.model.latent import Slot

Floats = NDArray[np.float64]
_SOFT = 1 / 40  # s: width of the ends, of the prior's range
_CLOUD = 1000  # draws of the Laplace approximation that its shape in x is measured on
_LOG_ROOT = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class Coordinates:
    """A map between coordinates x (D,) and the latent z (D,); every x is a z.

    Attributes:
        norms: axes that hold a norm or an amplitude.
        norm, share: axes that hold norm and share of a component of two templates, whose fluxes take their places.
        shift: from a point (D,), of which it reads axes that are the same in x and z only, to what is added to the
            coordinates of `norms` (n,); None for nothing.
    """

    norms: NDArray[np.int64]
    norm: NDArray[np.int64]
    share: NDArray[np.int64]
    shift: Callable[[jax.Array], jax.Array] | None = None

    def to_latent(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """z, and log |dz / dx|."""
        ends = x[self.norms] - (0.0 if self.shift is None else self.shift(x))
        lower = jnp.where(ends < 0, ends, -ends)  # the map is odd: its upper half from its lower, where 1 - u is exact
        u = _SOFT * (jax.nn.softplus((lower + 0.5) / _SOFT) - jax.nn.softplus((lower - 0.5) / _SOFT))
        z = jnp.where(ends < 0, 1.0, -1.0) * ndtri(u)
        log_slope = jax.nn.log_sigmoid((0.5 + ends) / _SOFT) + jax.nn.log_sigmoid((0.5 - ends) / _SOFT)
        log_slope += np.log1p(-np.exp(-1 / _SOFT))
        first, second = x[self.share], x[self.norm]
        fluxes = _SOFT * jax.nn.softplus(first / _SOFT), _SOFT * jax.nn.softplus(second / _SOFT)
        total = fluxes[0] + fluxes[1]
        rest = (1.0 - total) / _SOFT
        log_slopes = jax.nn.log_sigmoid(first / _SOFT) + jax.nn.log_sigmoid(second / _SOFT) - jnp.log(total)
        log_slopes += jax.nn.log_sigmoid(rest)
        near = jnp.minimum(total, 0.5)  # so that the half that is not taken has no NaN in its derivative
        lower_z = ndtri(near - _SOFT * (jnp.log1p(jnp.exp((near - 1.0) / _SOFT)) - np.log1p(np.exp(-1 / _SOFT))))
        upper_z = -ndtri(_SOFT * jax.nn.softplus(jnp.minimum(rest, 0.5 / _SOFT)))
        norm = jnp.where(total < 0.5, lower_z, upper_z)
        moved = jnp.concatenate([z, norm, ndtri(fluxes[0] / total)])
        places = np.concatenate([self.norms, self.norm, self.share])
        log_volume = jnp.sum(log_slope) + jnp.sum(log_slopes) + jnp.sum(0.5 * moved**2 + _LOG_ROOT)
        return x.at[places].set(moved), log_volume

    def from_latent(self, z: jax.Array) -> jax.Array:
        """x of a latent z."""
        u, rest = ndtr(z[self.norms]), ndtr(-z[self.norms])
        ends = -0.5 + _SOFT * (_log_expm1(u / _SOFT) - jnp.log(-jnp.expm1(-rest / _SOFT)))
        ends += 0.0 if self.shift is None else self.shift(z)
        u, rest = ndtr(z[self.norm]), ndtr(-z[self.norm])
        total = u - _SOFT * (jnp.log(-jnp.expm1(-rest / _SOFT)) - np.log(-np.expm1(-1 / _SOFT)))
        first, second = total * ndtr(z[self.share]), total * ndtr(-z[self.share])
        fluxes = _SOFT * _log_expm1(first / _SOFT), _SOFT * _log_expm1(second / _SOFT)
        return z.at[self.norms].set(ends).at[self.share].set(fluxes[0]).at[self.norm].set(fluxes[1])

    def frame(self, model: SkyModel, laplace: Laplace) -> tuple[Floats, Floats]:
        """Mean (D,) and covariance (D, D) in x of the model's Laplace approximation."""
        if not self.norms.size and not self.norm.size:
            return laplace.mode, laplace.scale_tril @ laplace.scale_tril.T
        u = np.random.default_rng(0).standard_normal((_CLOUD, laplace.mode.size))
        program = model.program("flux coordinates", lambda: jax.jit(jax.vmap(self.from_latent)))
        x = np.asarray(program(jnp.asarray(laplace.mode + u @ laplace.scale_tril.T)))
        return x.mean(axis=0), np.cov(x.T)


def latent_coordinates() -> Coordinates:
    """The latent space itself."""
    nothing = np.zeros(0, dtype=np.int64)
    return Coordinates(nothing, nothing, nothing)


def flux_coordinates(model: SkyModel) -> Coordinates:
    """Those of a model: of components whose norm has a uniform prior, or whose amplitude has a log-uniform one, and is
    in no other place of the model."""
    used = [name for component in model.spec.components for name, _, _ in component_uses(component)]

    def slot(name: Any, prior: type[Uniform | LogUniform]) -> Slot | None:
        """That of a scalar parameter with such a prior, used once; None for anything else."""
        found = model.latent.slots.get(name) if isinstance(name, str) else None
        return found if found and isinstance(found.prior, prior) and used.count(name) == 1 else None

    norms, pairs, amplitudes = [], [], []
    for component in model.spec.components:
        norm, amplitude = slot(component.norm, Uniform), slot(component.amplitude, LogUniform)
        template = component.template
        share = slot(template.fractions, Uniform) if isinstance(template, MixTemplate) else None
        if amplitude is not None:
            amplitudes.append((amplitude, component))
        elif norm is not None and share is not None and share.prior.support() == (0.0, 1.0):
            pairs.append((norm.start, share.start))
        elif norm is not None:
            norms.append(norm.start)
    norm_axes, share_axes = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    axes = np.array([*norms, *(found.start for found, _ in amplitudes)], dtype=np.int64)
    shift = _counts_shift(model, amplitudes, len(norms)) if amplitudes else None
    return Coordinates(axes, norm_axes, share_axes, shift)


def _counts_shift(
    model: SkyModel, amplitudes: list[tuple[Slot, Component]], n_norms: int
) -> Callable[[jax.Array], jax.Array]:
    """ln(counts per pixel of A = 1) of the populations, in the width of the prior of ln A, from its value at z = 0.

    `n_norms` zeros come first.
    """
    widths = np.array([np.diff(np.log(slot.prior.support()))[0] for slot, _ in amplitudes])
    populations = [component for _, component in amplitudes]

    def logs(z: jax.Array) -> jax.Array:
        theta = model.parameters(z) | {str(c.amplitude): jnp.asarray(1.0) for c in populations}
        return jnp.log(jnp.stack([model.mean_counts(c, theta) for c in populations])) / widths

    middle = np.asarray(logs(jnp.zeros(model.n_latent)))
    return lambda z: jnp.concatenate([jnp.zeros(n_norms), logs(z) - middle])


def _log_expm1(v: jax.Array) -> jax.Array:
    return v + jnp.log(-jnp.expm1(-v))
