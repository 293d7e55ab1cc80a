"""Coordinates of the coefficients of fields, in which amplitude and length do not bend the posterior.

The data fix the weights of a field, roots(theta) * z with the prior's standard deviations roots(theta) of the modes, as
far as they inform them, and know nothing of amplitude and length but for these. So a mode that they fix has z ~ 1 /
roots(theta), a bent valley, and one that they do not inform has z ~ N(0, 1) whatever theta is. Both become straight in

    x_k = z_k (roots_k(theta) / roots_k(theta_0))^p_k,    p_k = I_k / (1 + I_k),

with the information I_k that the data have of z_k at the middle theta_0 of the priors: partly non-centred coordinates
(Papaspiliopoulos, Roberts & Skoeld 2007, Stat. Sci. 22, 59; Gorinova, Moore & Hoffman 2020, arXiv:1906.03028). I_k is
that of Poisson counts whose mean is even over the region: a rough number does, since it only sets coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
        log_stretch: from a point (D,), of which it reads axes that are the same in x and z only, to ln(x_k / z_k) (M,).
        information (M,): I_k.
    """

    axes: NDArray[np.int64]
    log_stretch: Callable[[jax.Array], jax.Array]
    information: Floats


def field_axes(model: Density) -> tuple[FieldAxes, ...]:
    """Those of all fields of a model whose coefficients are axes of its latent space."""
    expectation = model.expectation
    if not expectation.fields:
        return ()
    found: dict[str, FieldAxes] = {}
    middle = model.parameters(jnp.zeros(model.n_latent))
    norms = {name: abs(float(norm)) for name, norm in model.sky(middle).norms.items()}
    table = model.arrays["sky"]["templates"]
    n_region = expectation.pixels.n_region // expectation.bins.n
    n_fit = expectation.pixels.n_fit // expectation.bins.n
    for name, field in expectation.fields.items():
        if field.coefficients in found:
            continue  # the first one sets the coordinates
        built, slot = expectation.built_field(name), model.latent.slots[field.coefficients]
        at_middle = np.asarray(built.roots(table, middle))
        if not (at_middle > 0).all():
            continue  # a field that is switched off
        on = sum(norms[c.name] for c in expectation.spec.components if field in list(c.template.fields()))
        counts = n_fit * on**2 / max(sum(norms.values()), 1e-300)
        information = counts * at_middle**2 * np.asarray(table[built.basis])[:, :n_region].var(axis=1)
        power, log_middle = information / (1.0 + information), np.log(at_middle)
        axes = np.arange(slot.start, slot.start + slot.n_latent)
        found[field.coefficients] = FieldAxes(axes, _stretch(model, name, power, log_middle), information)
    return tuple(found.values())


def _stretch(model: Density, name: str, power: Floats, log_middle: Floats) -> Callable[[jax.Array], jax.Array]:
    built, table = model.expectation.built_field(name), model.arrays["sky"]["templates"]

    def log_stretch(z: jax.Array) -> jax.Array:
        return jnp.asarray(power) * (jnp.log(built.roots(table, model.parameters(z))) - log_middle)

    return log_stretch


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
