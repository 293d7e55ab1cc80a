"""Godambe information: how much the score of a likelihood really varies, beside how much the likelihood says it does.

The likelihood of single pixels takes them for independent, but a source's photons fall into neighbours too. Its score
s = sum_p s_p, a sum over pixels of gradients s_p = grad log p(k_p), then has a covariance J over skies that differs
from the likelihood's own expected curvature H_L:

    H_L = sum_p E[s_p s_p^T],    J = sum_pq E[s_p s_q^T] over pairs of pixels that can share a source.

(H_L is the expectation of minus the Hessian, by the information identity in every pixel. Scores of pixels farther apart
are independent: to leave out what is zero on average makes the noise of J twenty times smaller than that of the
covariance of s itself.) The best fit scatters as H^-1 J H^-1, not as H^-1 (Godambe 1960, Ann. Math. Stat. 31, 1208;
Varin, Reid & Firth 2011, Statistica Sinica 21, 5). With the prior, N(0, 1) in every latent coordinate, the best fit of
data whose truth z_0 was drawn from it is off by H^-1 (s(z_0) - z_0) with H = H_L + P, and the covariance of that is

    S = H^-1 (J + P) H^-1,

P being the curvature of the prior and of whatever else in the density does not vary from sky to sky. Where J = H_L this
is H^-1, and where the data say nothing (J = H_L = 0) the prior's own P^-1; H^-1 J H^-1 alone would be zero there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import N_SKIES
from gammasky.engine.model import Density, SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.pixels.frames import vectors_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
CITATIONS = (
    Citation(
        "errors that are honest about pixels that share sources",
        r"""
        @article{Varin2011,
          author  = {Varin, Cristiano and Reid, Nancy and Firth, David},
          title   = {An overview of composite likelihood methods},
          journal = {Statistica Sinica},
          volume  = {21},
          pages   = {5},
          year    = {2011}
        }
        """,
    ),
)
LEAST = 5  # skies for each latent coordinate: factors are then known to some per cent
FIRST = 1 << 24  # number of the first sky: no replica and no sky of a calibration has the same random numbers
SHARED = 0.99  # of the photons of a source: pixels farther apart than two such radii share no source
_STEP = 1e-4  # of the central differences, on the scale of the prior's standard deviation
_AT_ONCE = 25  # skies that are simulated between two looks at interrupts
_BATCH = 8  # points that are evaluated side by side


@dataclass(frozen=True, eq=False)
class Godambe:
    """What skies of a model at one point say of its likelihood.

    Attributes:
        point (D,): of the latent space; the truth of the skies.
        sensitivity (D, D): H_L, the expected curvature of the log-likelihood.
        variability (D, D): J, the covariance of its gradient over the skies.
        fixed (D, D): P, the curvature of the prior and of further terms of the density.
        mean_score (D,): mean of the gradient over the skies; 0 but for noise where the likelihood has no bias.
        n_skies: number of skies.
        noise: half the largest difference, as a share, between what two halves of the skies say of `factors`.
    """

    point: Floats
    sensitivity: Floats
    variability: Floats
    fixed: Floats
    mean_score: Floats
    n_skies: int
    noise: float = 0.0

    @cached_property
    def precision(self) -> Floats:
        """H = H_L + P (D, D)."""
        return self.sensitivity + self.fixed

    @cached_property
    def covariance(self) -> Floats:
        """S = H^-1 (J + P) H^-1 (D, D), the covariance of the error of the best fit."""
        inverse = np.linalg.inv(self.precision)
        return np.asarray(inverse @ (self.variability + self.fixed) @ inverse)

    @property
    def factors(self) -> Floats:
        """Errors (D,) of the latent coordinates by S, over those by H^-1."""
        return np.asarray(np.sqrt(np.diag(self.covariance) / np.diag(np.linalg.inv(self.precision))))

    @cached_property
    def axes(self) -> tuple[Floats, Floats]:
        """Axes (D, D), in columns, and squares (D,) of the factors by which errors along them differ.

        With draws z about their mean m, the columns of (z - m) @ axes vary by 1 and independently where the posterior
        is normal with covariance H^-1, and by the root of the squares where it has the covariance S.
        """
        lower = np.linalg.cholesky(self.precision)
        inner = np.linalg.solve(lower, np.linalg.solve(lower, self.variability + self.fixed).T)
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        return lower @ vectors, np.maximum(values, 0.0)

    @cached_property
    def stretch(self) -> Floats:
        """A (D, D) with A H^-1 A^T = S: the principal square root of H^-1 (J + P).

        Of all roots this one alone is the same in any coordinates that are linear in these, is the identity where
        J = H_L, and turns nothing without need: in units of posterior standard deviations it is symmetric, and moves
        draws as little as any linear map can that gives them the covariance S.
        """
        axes, squares = self.axes
        return np.asarray(np.linalg.solve(axes.T, np.sqrt(squares)[:, None] * axes.T))

    @property
    def power(self) -> float:
        """k = tr(H^-1 H_L) / tr(H^-1 J), the power of the likelihood at which its weight is right on average.

        Source: Pauli, Racugno & Ventura 2011, Statistica Sinica 21, 149, with D in the numerator; here directions count
        as far as the data inform them.
        """
        informed = np.linalg.solve(self.precision, self.sensitivity).trace()
        return float(informed / np.linalg.solve(self.precision, self.variability).trace())

    @property
    def shift(self) -> Floats:
        """H^-1 E[s] (D,): how far the best fit is off on average, beyond what the prior does."""
        return np.asarray(np.linalg.solve(self.precision, self.mean_score))

    @property
    def shift_error(self) -> Floats:
        """Standard error (D,) of `shift`, from the number of skies."""
        inverse = np.linalg.inv(self.precision)
        return np.asarray(np.sqrt(np.diag(inverse @ self.variability @ inverse) / self.n_skies))


def require_enough(skies: int, n_latent: int) -> None:
    """Refuse fewer skies than LEAST for each latent coordinate.

    Raises:
        InputError: says how many are needed.
    """
    if skies < LEAST * n_latent:
        raise InputError(
            f"`skies`: expected at least {LEAST * n_latent}, {LEAST} for each of {n_latent} latent dimensions, "
            f"got {skies}"
        )


def godambe(
    model: SkyModel,
    point: Floats,
    *,
    skies: int = N_SKIES,
    seed: int = 0,
    note: Callable[[int], None] | None = None,
    simulator: PhotonSimulator | None = None,
) -> Godambe:
    """Simulate skies at a point photon by photon, and measure the likelihood's score and curvature there.

    Scores of pixels are central differences of their log-likelihoods, right to eight digits. The result depends on the
    seed and the number of skies, not on threads.

    Args:
        model: the model; several looks at the sky are taken for as many skies of their own.
        point (D,): on the latent space, the best fit as a rule.
        skies: number of skies.
        seed: of the skies.
        note: told the number of skies that are done, again and again.
        simulator: of the model, where there is one already; that of other counts will do.

    Raises:
        InputError: too few skies; a model that cannot be simulated photon by photon.
        NonFiniteLikelihoodError: a sky of the model that is impossible by its likelihood; names the pixel.
    """
    require_enough(skies, model.n_latent)
    simulator = simulator or PhotonSimulator(model)
    theta = model.parameters(jnp.asarray(point))
    share = sharing(model)
    halves = [_Sums.empty(share.shape[0], model.n_latent) for _ in range(2)]
    for number in range(skies):
        interrupt.check()
        if number % _AT_ONCE == 0:
            some = min(_AT_ONCE, skies - number)
            drawn = simulator.draw(theta, n=some, seed=seed, first=FIRST + number)[:, : model.pixels.n_fit]
            if note is not None:
                note(number)
        sky = model.with_counts(drawn[number % _AT_ONCE])
        scores = pixel_scores(sky, point)
        if not np.isfinite(scores).all():
            raise sky.explain(theta)
        halves[number % 2].add(scores, share)
    looks, fixed = len(model.arrays["counts"]["plans"]), fixed_curvature(model, point)
    first, second = (half.found(point, fixed, looks, share).factors for half in halves)
    found = _Sums.of(*halves).found(point, fixed, looks, share)
    return replace(found, noise=float(np.abs(first / second - 1).max() / 2))


def pixel_scores(model: SkyModel, point: Floats) -> Floats:
    """Gradient (Q, D) of the log-likelihood of every fitted pixel with respect to the latent z, at a point (D,).

    Q is the number of pixels that the likelihood is a product over: a likelihood of all energy bins together has one
    factor for each pixel of the sky, any other has one for each bin of it.
    """

    def evaluate(arrays: Any, points: jax.Array) -> jax.Array:
        one = lambda z: model.pixel_log_likelihood(model.parameters(z, arrays), arrays)  # noqa: E731
        return jax.lax.map(one, points, batch_size=_BATCH)

    program = model.program("pixel log-likelihoods", lambda: jax.jit(evaluate))
    moves = _STEP * np.eye(model.n_latent)
    above, below = np.split(np.asarray(program(model.arrays, np.concatenate([point + moves, point - moves]))), 2)
    return np.asarray((above - below).T / (2 * _STEP))


def sharing(model: SkyModel) -> csr_array:
    """Matrix (Q, Q), 1 for pairs of fitted pixels that can share a source, each with itself among them."""
    from scipy.sparse import csr_array, eye_array
    from scipy.spatial import cKDTree

    pixels = model.pixels
    point = model.parameters(jnp.zeros(model.n_latent))
    size = jax.eval_shape(lambda: model.pixel_log_likelihood(point)).shape[0]
    if not model.spec.populations:
        return csr_array(eye_array(size))
    reach = 2 * max(float(psf.radius(np.array(SHARED))) for psf in pixels.psf)
    if reach > 0:  # between the centres of two pixels that a pair of photons may be found in
        reach += np.deg2rad(pixels.grid.spacing_deg)
    places = vectors_of(pixels.lon_deg[:size], pixels.lat_deg[:size])  # pixels come one energy bin after the other
    pairs = cKDTree(places).query_pairs(2 * np.sin(min(reach, np.pi) / 2), output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1], np.repeat(np.arange(size)[:, None], 2, axis=1)])
    return csr_array((np.ones(len(both)), both.T), shape=(size, size))


def fixed_curvature(model: SkyModel, point: Floats) -> Floats:
    """P (D, D): the prior's 1, and the curvature of the terms of the likelihood that are not of the counts."""
    from gammasky.engine.infer.optimise import curvature

    fixed = np.eye(model.n_latent)
    if model.spec.terms:
        fixed += curvature(model, point) - curvature(of_counts(model), point)
    return fixed


def of_counts(model: SkyModel) -> Density:
    """The density of a model without the terms of its likelihood that are not of the counts."""
    return Density(model.latent, model.expectation, model.counts_term)


@dataclass
class _Sums:
    """Sums over n skies: of scores (Q, D), of s_p s_p^T and of s_p s_q^T over pairs that share sources (D, D)."""

    n: int
    score: Floats
    same: Floats
    shared: Floats

    @classmethod
    def empty(cls, n_pixels: int, size: int) -> _Sums:
        return cls(0, np.zeros((n_pixels, size)), np.zeros((size, size)), np.zeros((size, size)))

    @classmethod
    def of(cls, first: _Sums, second: _Sums) -> _Sums:
        return cls(*(getattr(first, part.name) + getattr(second, part.name) for part in fields(cls)))

    def add(self, scores: Floats, share: csr_array) -> None:
        self.n += 1
        self.score += scores
        self.same += scores.T @ scores
        self.shared += scores.T @ (share @ scores)

    def found(self, point: Floats, fixed: Floats, looks: int, share: csr_array) -> Godambe:
        """The covariances are about the mean of each pixel's score."""
        same = self.same - self.score.T @ self.score / self.n
        shared = self.shared - self.score.T @ (share @ self.score) / self.n
        per_sky = looks / (self.n - 1)
        mean = looks * self.score.sum(axis=0) / self.n
        return Godambe(point, per_sky * same, per_sky * (shared + shared.T) / 2, fixed, mean, self.n)
