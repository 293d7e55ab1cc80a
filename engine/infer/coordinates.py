"""Coordinates in which the posterior has the same width everywhere, for samplers that move by gradients.

Counts are linear in the norms of components, so the likelihood fixes sums of norms to the same precision wherever the
norms are. On the latent scale z of a uniform prior it does not look so: dS/dz is small near the lower limit, where the
norm of a component is that the data do not need, and a sum that is fixed to one per cent becomes a narrow, bent valley.
A step that is stable in its narrowest part is far too short elsewhere. Here

- the norm of a component is its own coordinate, but for soft ends: x = T(z) - s R(-z) with the prior's quantile
  u = Phi(z), the ramp R(z) = integral of Phi(z - k) and T(z) = Phi(z) + s R(z). In the middle of the prior x is S in
  the width of the prior; beyond its limits x is z in units of s, so that a posterior that reaches a limit ends
  there as a normal distribution does, and so does a flow that begins as one: with thicker ends, a few draws would carry
  most of the importance weights;
- a component of two templates with norm S and share f has the fluxes of the two as coordinates: f alone means nothing
  where S is small. T is u at its lower end and goes on where u stops; the fluxes in that unit are T(z_S) f and
  T(z_S) (1 - f), and x of each is that of a norm with this T(z);
- the amplitude A of a population (dN/dS at its highest break, log-uniform) is replaced by its mean counts: the data
  fix those, and A follows slopes and breaks along a bent valley over many powers of ten. x is that of a norm, with
  ln(counts per pixel) - ln(those of A = 1) in place of ln A;
- the coefficients of a field: see `field_coordinates`;
- everything else stays on its latent scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.scipy.stats.norm import logpdf as norm_logpdf
from jax.scipy.stats.norm import pdf as norm_pdf
from numpy.typing import NDArray
from scipy import special

from gammasky.engine.infer.field_coordinates import FieldAxes, field_axes
from gammasky.engine.infer.field_frame import frame_of_fields
from gammasky.engine.normal import normal_cdf

if TYPE_CHECKING:
    from gammasky.engine.infer.optimise import Laplace
    from gammasky.engine.model import Density
    from gammasky.engine.model.flux_axes import Amplitude

Floats = NDArray[np.float64]
_SOFT = 1 / 10  # s: width of the ends, of the prior's range
_CLOUD = 1000  # draws of the Laplace approximation that its shape in x is measured on
_SOFT_AMPLITUDE = 1 / 40  # that of amplitudes, whose priors are wide: some 16 powers of e
_END = 3.0  # k: where they begin, in standard deviations of z
_NODES = 4096  # of a table, from which one step of Halley gives all digits: a fifth of the time
_LOWEST = -2.0  # z up to which the upper end is nothing, to a part in 10^6
_STRAIGHT = _END + 4.0  # z from which on ends are straight, to a part in 10^6


@dataclass(frozen=True)
class Coordinates:
    """A map between coordinates x (D,) and the latent z (D,); every x is a z.

    Attributes:
        norms: axes that hold a norm or an amplitude.
        norm, share: axes that hold norm and share of a component of two templates, whose fluxes take their places.
        shift: from a point (D,), of which it reads axes that are the same in x and z only, to what is added to the
            coordinates of `norms` (n,); None for nothing.
        soft: width s of the ends of `norms`, each (n,) or all.
        fields: axes of the coefficients of fields.
    """

    norms: NDArray[np.int64]
    norm: NDArray[np.int64]
    share: NDArray[np.int64]
    shift: Callable[[jax.Array], jax.Array] | None = None
    soft: Floats | float = _SOFT
    fields: tuple[FieldAxes, ...] = ()

    def to_latent(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Turn coordinates x (D,) to latent z (D,), and give log |dz / dx|."""
        alone = _inverse_soft(
            x[self.norms] - (0.0 if self.shift is None else self.shift(x)), np.broadcast_to(self.soft, self.norms.shape)
        )
        ends = _inverse_soft(jnp.stack([x[self.share], x[self.norm]]), np.full((2, len(self.norm)), _SOFT))
        fluxes = _open(ends)
        total = fluxes.sum(axis=0)
        norm = _inverse_open(total)
        share = jnp.where(ends[0] < ends[1], 1.0, -1.0) * ndtri(fluxes.min(axis=0) / total)
        log_volume = -jnp.sum(jnp.log(_soft_slope(alone, self.soft)))
        log_volume += jnp.sum(jnp.log(_open_slope(ends)) - jnp.log(_soft_slope(ends, _SOFT)))
        log_volume -= jnp.sum(jnp.log(total) + jnp.log(_open_slope(norm)) + norm_logpdf(share))
        places = np.concatenate([self.norms, self.norm, self.share])
        z = x.at[places].set(jnp.concatenate([alone, norm, share]))
        for field in self.fields:
            stretch = field.log_stretch(x)
            z = z.at[field.axes].set(x[field.axes] * jnp.exp(-stretch))
            log_volume -= jnp.sum(stretch)
        return z, log_volume

    def from_latent(self, z: jax.Array) -> jax.Array:
        """Turn latent z (D,) to coordinates x (D,)."""
        alone = _soft(z[self.norms], self.soft) + (0.0 if self.shift is None else self.shift(z))
        shares = jnp.stack([normal_cdf(z[self.share]), normal_cdf(-z[self.share])])
        first, second = _soft(_inverse_open(_open(z[self.norm]) * shares), _SOFT)
        x = z.at[self.norms].set(alone).at[self.share].set(first).at[self.norm].set(second)
        for field in self.fields:
            x = x.at[field.axes].set(z[field.axes] * jnp.exp(field.log_stretch(z)))
        return x

    def with_weights(self, x: jax.Array) -> jax.Array:
        """The same point (D,) with weights of fields in place of their coefficients: where a likelihood is simple."""
        for field in self.fields:
            x = x.at[field.axes].set(x[field.axes] * jnp.exp(field.log_weight(x)))
        return x

    def without_weights(self, point: jax.Array) -> jax.Array:
        """Turn what `with_weights` gives (D,) back to coordinates x (D,)."""
        for field in self.fields:
            point = point.at[field.axes].set(point[field.axes] * jnp.exp(-field.log_weight(point)))
        return point

    def frame(self, model: Density, laplace: Laplace) -> tuple[Floats, Floats]:
        """Mean (D,) and covariance (D, D) in x of the model's Laplace approximation."""
        if self.fields:
            return frame_of_fields(model, self.to_latent, np.asarray(self.from_latent(jnp.asarray(laplace.mode))))
        if not self.norms.size and not self.norm.size:
            return laplace.mode, laplace.scale_tril @ laplace.scale_tril.T
        u = np.random.default_rng(0).standard_normal((_CLOUD, laplace.mode.size))
        program = model.program("flux coordinates", lambda: jax.jit(jax.vmap(self.from_latent)))
        x = np.asarray(program(jnp.asarray(laplace.mode + u @ laplace.scale_tril.T)))
        return x.mean(axis=0), np.atleast_2d(np.cov(x.T))  # that of one parameter is no matrix


def latent_coordinates() -> Coordinates:
    """Coordinates that are those of the latent space: x = z."""
    nothing = np.zeros(0, dtype=np.int64)
    return Coordinates(nothing, nothing, nothing)


def flux_coordinates(model: Density) -> Coordinates:
    """The coordinates of a model, on the axes where its norms lie (see `FluxAxes`)."""
    found = model.flux_axes
    norm_axes, share_axes = found.pairs.T
    axes = np.array([*found.norms, *(amplitude.axis for amplitude in found.amplitudes)], dtype=np.int64)
    shift = _counts_shift(model, found.amplitudes, len(found.norms)) if found.amplitudes else None
    soft = np.repeat([_SOFT, _SOFT_AMPLITUDE], [len(found.norms), len(found.amplitudes)])
    return Coordinates(axes, norm_axes, share_axes, shift, soft, field_axes(model))


def _counts_shift(model: Density, amplitudes: tuple[Amplitude, ...], n_norms: int) -> Callable[[jax.Array], jax.Array]:
    """ln(counts per pixel of A = 1) of the populations, in the width of the prior of ln A, from its value at z = 0.

    `n_norms` zeros come first.
    """
    widths = np.array([amplitude.width for amplitude in amplitudes])

    def logs(z: jax.Array) -> jax.Array:
        theta = model.parameters(z) | {amplitude.parameter: jnp.asarray(1.0) for amplitude in amplitudes}
        norms = model.sky(theta).norms
        return jnp.log(jnp.stack([norms[amplitude.component] for amplitude in amplitudes])) / widths

    middle = np.asarray(logs(jnp.zeros(model.n_latent)))
    return lambda z: jnp.concatenate([jnp.zeros(n_norms), logs(z) - middle])


def _ramp(z: jax.Array) -> jax.Array:
    """0 below the end of a prior's middle, z beyond it: the integral of Phi(z - k)."""
    return (z - _END) * normal_cdf(z - _END) + norm_pdf(z - _END)


def _open(z: jax.Array, s: Floats | float = _SOFT) -> jax.Array:
    """T(z): the quantile Phi(z) at its lower end, without an upper one."""
    return normal_cdf(z) + s * _ramp(z)


def _open_slope(z: jax.Array, s: Floats | float = _SOFT) -> jax.Array:
    return norm_pdf(z) + s * normal_cdf(z - _END)


def _soft(z: jax.Array, s: Floats | float) -> jax.Array:
    """Evaluate the quantile Phi(z) with soft ends."""
    return _open(z, s) - s * _ramp(-z)


def _soft_slope(z: jax.Array, s: Floats | float) -> jax.Array:
    return _open_slope(z, s) + s * normal_cdf(-z - _END)


def _inverse_soft(x: jax.Array, s: Floats) -> jax.Array:
    """z of x for widths s, both of one shape."""
    return _refined(x, s, *_starts(s))


def _starts(s: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Tables (n, _NODES) of z over |x - 1/2| from 0 to where ends are straight, and the table of each of s."""
    widths, which = np.unique(s, return_inverse=True)
    z = np.linspace(0.0, _STRAIGHT, 8 * _NODES)
    distances = [special.ndtr(z) - 0.5 + width * (_numpy_ramp(z) - _numpy_ramp(-z)) for width in widths]
    tables = [np.interp(np.linspace(0.0, found[-1], _NODES), found, z) for found in distances]
    return np.reshape(tables, (len(widths), _NODES)), which.reshape(s.shape)


def _numpy_ramp(z: Floats) -> Floats:
    beyond = z - _END
    return np.asarray(beyond * special.ndtr(beyond) + np.exp(-0.5 * beyond**2) / np.sqrt(2 * np.pi))


@jax.custom_jvp
def _refined(x: jax.Array, s: Any, tables: jax.Array, which: jax.Array) -> jax.Array:
    target = jnp.abs(x - 0.5)
    place = target * (_NODES - 1) / (0.5 + s * (_STRAIGHT - _END))
    row = jnp.minimum(place.astype(int), _NODES - 2)
    low, high = tables[which, row], tables[which, row + 1]
    z = low + (place - row) * (high - low)  # beyond the table too: ends are straight there
    slope, bend = _soft_slope(z, s), s * (norm_pdf(z - _END) - norm_pdf(z + _END)) - z * norm_pdf(z)
    newton = (_soft(z, s) - 0.5 - target) / slope
    z -= newton / (1.0 - 0.5 * newton * bend / slope)
    return jnp.where(x < 0.5, -z, z)


@_refined.defjvp
def _refined_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    z = _refined(*primals)
    return z, tangents[0] / _soft_slope(z, primals[1])


@jax.custom_jvp
def _inverse_open(t: jax.Array) -> jax.Array:
    lowest, highest, table = _open_starts()
    place = (t - lowest) * (_NODES - 1) / (highest - lowest)
    row = jnp.clip(place.astype(int), 0, _NODES - 2)
    z = jnp.asarray(table)[row] + (place - row) * jnp.asarray(np.diff(table))[row]  # beyond the table too
    z = jnp.where(t < lowest, ndtri(jnp.minimum(t, lowest)), z)
    slope, bend = _open_slope(z), _SOFT * norm_pdf(z - _END) - z * norm_pdf(z)
    newton = (_open(z) - t) / slope
    return z - newton / (1.0 - 0.5 * newton * bend / slope)


def _open_starts() -> tuple[float, float, Floats]:
    """T at the ends of a table, and the table (_NODES,): z over T between them."""
    z = np.linspace(_LOWEST, _STRAIGHT, 8 * _NODES)
    t = special.ndtr(z) + _SOFT * _numpy_ramp(z)
    return t[0], t[-1], np.interp(np.linspace(t[0], t[-1], _NODES), t, z)


@_inverse_open.defjvp
def _inverse_open_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    z = _inverse_open(*primals)
    return z, tangents[0] / _open_slope(z)
