"""Coordinates of the coefficients of fields, in which amplitude and length do not bend the posterior.

The data fix the weights of a field, roots(theta) * z with the prior's standard deviations roots(theta) of the modes, as
far as they inform them, and know nothing of amplitude and length but for these. Where a mode is informed, z ~ 1 /
roots(theta), a bent valley; where it is not, z ~ N(0, 1) whatever theta is, and weights would be a funnel. With the
information I_k that the data have of z_k in the middle theta_0 of the priors, the standard deviation of z_k given theta
is about (1 + I_k r_k^2)^(-1/2), r_k = roots_k(theta) / roots_k(theta_0). So in

    x_k = z_k ((1 + I_k r_k^2) / (1 + I_k))^(1/2)

every mode is as wide wherever theta is: a coefficient where the field is too faint to be seen, a weight where it is
not. (Partly non-centred coordinates, Papaspiliopoulos, Roberts & Skoeld 2007, Stat. Sci. 22, 59, with a power that
follows theta.) I_k is what is left of a mode once all other modes, of this field and of others, and the norms of the
components may move: a map that two fields can both change is known of neither.

A likelihood is learnt in the weights themselves, x_k r_k ((1 + I_k) / (1 + I_k r_k^2))^(1/2): it knows of amplitude and
length nothing but these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FieldAxes:
    """The axes of one field.

    Attributes:
        axes (M,): of its coefficients.
        log_ratio: from a point (D,), of which it reads axes that are the same in x and z only, to ln r_k (M,).
        information (M,): I_k.
    """

    axes: NDArray[np.int64]
    log_ratio: Callable[[jax.Array], jax.Array]
    information: Floats

    def log_stretch(self, point: jax.Array) -> jax.Array:
        """ln(x_k / z_k) (M,) at a point (D,) in x or z."""
        return 0.5 * jnp.log1p(self.information * jnp.exp(2 * self.log_ratio(point))) - self._log_middle

    def log_weight(self, point: jax.Array) -> jax.Array:
        """ln(weight / x_k) (M,), a weight in units of its prior's standard deviation at theta_0."""
        return self.log_ratio(point) - self.log_stretch(point)

    @property
    def _log_middle(self) -> Floats:
        return 0.5 * np.log1p(self.information)


def field_axes(model: Density) -> tuple[FieldAxes, ...]:
    """Those of all fields of a model whose coefficients are axes of its latent space."""
    expectation = model.expectation
    found: dict[str, FieldAxes] = {}
    slopes: list[Floats] = []
    if not expectation.fields:
        return ()
    arrays = model.arrays["sky"]
    counts = expectation.counts(model.sky(expectation.middle), arrays)
    means = {name: np.abs(np.asarray(part))[: expectation.pixels.n_fit] for name, part in counts.items()}
    for name, field in expectation.fields.items():
        built = expectation.built_field(name)
        roots = np.asarray(built.roots(arrays["templates"], expectation.middle))
        if field.coefficients in found or not (roots > 0).all():
            continue  # the first one sets the coordinates; a field may be switched off
        carried = np.sum([means[c.name] for c in expectation.spec.components if field in list(c.template.fields())], 0)
        waves = np.asarray(arrays["templates"][built.basis])[:, : len(carried) // expectation.bins.n]
        waves = np.tile(waves, expectation.bins.n)
        slopes.append(roots[:, None] * (waves - (waves @ carried / carried.sum())[:, None]) * carried)
        slot = model.latent.slots[field.coefficients]
        axes = np.arange(slot.start, slot.start + slot.n_latent)
        found[field.coefficients] = FieldAxes(axes, _log_ratio(model, name, roots), np.zeros(0))
    if not found:
        return ()
    known = _information(np.concatenate([*slopes, list(means.values())]), np.sum(list(means.values()), axis=0))
    ends = np.cumsum([len(part) for part in slopes])[:-1]
    parts = np.split(known[: len(known) - len(means)], ends)
    return tuple(replace(axes, information=part) for axes, part in zip(found.values(), parts, strict=True))


def _information(slopes: Floats, mean: Floats) -> Floats:
    """What Poisson counts of a mean (P,) know of each of K numbers of prior N(0, 1), of which all may move (K,).

    Args:
        slopes (K, P): derivatives of the mean.
        mean: where it is zero the slopes are, too.
    """
    fisher = slopes @ (slopes / np.where(mean > 0, mean, 1.0)).T
    return 1.0 / np.diag(np.linalg.inv(np.eye(len(fisher)) + fisher)) - 1.0


def _log_ratio(model: Density, name: str, at_middle: Floats) -> Callable[[jax.Array], jax.Array]:
    built, table = model.expectation.built_field(name), model.arrays["sky"]["templates"]
    log_middle = np.log(at_middle)
    return lambda point: jnp.log(built.roots(table, model.parameters(point))) - log_middle


def spread_over_blocks(
    plain_mean: Floats, plain_covariance: Floats, centre: Floats, covariance: Floats
) -> tuple[Floats, Floats]:
    """The normal distribution whose first entries have another mean (P,) and covariance (P, P).

    What the others are, given the first, stays as it is in the normal distribution with `centre` (D,) and `covariance`
    (D, D): a few hundred draws tell the few numbers of the first part, and nothing of a D x D matrix.
    """
    n = len(plain_mean)
    follows = np.linalg.solve(covariance[:n, :n], covariance[:n, n:]).T  # (Q, P)
    rest = covariance[n:, n:] - follows @ covariance[:n, n:]
    mean = np.concatenate([plain_mean, centre[n:] + follows @ (plain_mean - centre[:n])])
    cross = follows @ plain_covariance
    whole = np.block([[plain_covariance, cross.T], [cross, rest + cross @ follows.T]])
    return mean, 0.5 * (whole + whole.T)
