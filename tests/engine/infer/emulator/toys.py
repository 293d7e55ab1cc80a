"""Densities whose posterior is known, for methods that see nothing but a density."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.emulator.emulation import Emulation
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.model.flux_axes import FluxAxes
from gammasky.engine.model.latent import log_standard_normal
from gammasky.engine.model.programs import Programs
from gammasky.engine.normal import normal_cdf

NOTHING = np.zeros(0, dtype=np.int64)


class Toy:
    """What methods ask of a density, of a given log posterior over z (D,) that need not be normalised."""

    def __init__(self, size: int, log_posterior: Callable[[jax.Array], jax.Array]) -> None:
        self.n_latent, self._log_posterior = size, log_posterior
        self.names = [f"z{number}" for number in range(size)]
        self.arrays: dict[str, Any] = {}
        self.programs = Programs()
        self.flux_axes = FluxAxes(NOTHING, NOTHING.reshape(0, 2), ())
        slots = {
            name: SimpleNamespace(name=name, labels=(), shape=(), start=start, n_latent=1, block=False, names=[name])
            for start, name in enumerate(self.names)
        }
        self.latent = SimpleNamespace(slots=slots, n_plain=size)
        self.expectation = SimpleNamespace(
            fields={},
            fluxes=lambda _sky: {"all": jnp.asarray(0.0)},
            point_source_fractions=lambda _sky: {},
            groups=(),
            numbers_of_sources=lambda _sky, _theta: {},
            names_of_numbers={},
            bins=SimpleNamespace(n=1),
        )
        self.identity = {"model": "toy", "arrays": ""}

    def parameters(self, z: jax.Array, _arrays: Any = None) -> dict[str, jax.Array]:
        return {name: z[number] for number, name in enumerate(self.names)}

    def sky(self, _theta: Any, _arrays: Any = None) -> None:
        return None

    def mixture_fluxes(self, _theta: Any) -> list[jax.Array]:
        return []

    def main_parameters(self, most: int = 10) -> list[str]:
        return self.names[:most]

    def log_density(self, z: jax.Array, arrays: Any = None) -> jax.Array:  # noqa: ARG002
        return self._log_posterior(z)

    def log_likelihood(self, theta: dict[str, jax.Array], _arrays: Any = None) -> jax.Array:
        z = jnp.stack([theta[name] for name in self.names])
        return self._log_posterior(z) - log_standard_normal(z)

    def value_and_gradient(self, z: Any) -> Any:
        single = jax.value_and_grad(self._log_posterior)
        build = lambda: jax.jit(jax.vmap(single))  # noqa: E731
        return self.program("value_and_gradient", build)(jnp.asarray(z))

    def program(self, key: Hashable, build: Callable[[], Any]) -> Any:
        return self.programs.find(key, build)

    def explain(self, _theta: Any) -> NonFiniteLikelihoodError:
        return NonFiniteLikelihoodError("not finite")


def log_mixture(z: jax.Array, centres: Any, sd: float, shares: Any) -> jax.Array:
    """A mixture of spheres."""
    square = jnp.sum((z - jnp.asarray(centres)) ** 2, axis=1) / sd**2
    norm = -z.size * np.log(sd) - 0.5 * z.size * np.log(2 * np.pi)
    return jax.scipy.special.logsumexp(jnp.log(jnp.asarray(shares)) - 0.5 * square) + norm


def banana(size: int = 4) -> Toy:
    """z1 bends with z0^2; log Z is 0, z0 ~ N(0, 1)."""

    def log_posterior(z: jax.Array) -> jax.Array:
        bent = (z[1] - 0.8 * (z[0] ** 2 - 1.0)) / 0.3
        rest = z[2:] / 0.5
        norm = -0.5 * size * np.log(2 * np.pi) - np.log(0.3) - (size - 2) * np.log(0.5)
        return -0.5 * (z[0] ** 2 + bent**2 + jnp.sum(rest**2)) + norm

    return Toy(size, log_posterior)


def funnel(size: int = 4) -> Toy:
    """The width of all others is exp(z0 / 2), z0 ~ N(0, 1.5); log Z is 0."""

    def log_posterior(z: jax.Array) -> jax.Array:
        first = -0.5 * (z[0] / 1.5) ** 2 - np.log(1.5) - 0.5 * np.log(2 * np.pi)
        rest = -0.5 * jnp.sum((z[1:] * jnp.exp(-0.5 * z[0])) ** 2) - 0.5 * (size - 1) * (z[0] + np.log(2 * np.pi))
        return first + rest

    return Toy(size, log_posterior)


def heavy(size: int = 4) -> Toy:
    """Independent Student's t with 4 degrees of freedom and half the width; log Z is 0."""

    def log_posterior(z: jax.Array) -> jax.Array:
        return jnp.sum(jax.scipy.stats.t.logpdf(z / 0.5, 4.0)) - size * np.log(0.5)

    return Toy(size, log_posterior)


def two_modes(distance: float, size: int = 4) -> Toy:
    """Two spheres of width 0.3, with shares of 0.7 and 0.3; log Z is 0."""
    centres = np.zeros((2, size))
    centres[:, 0] = [-distance / 2, distance / 2]
    return Toy(size, lambda z: log_mixture(z, centres, 0.3, [0.7, 0.3]))


def prior(size: int = 4) -> Toy:
    """The data say nothing: log Z is 1.5."""
    return Toy(size, lambda z: log_standard_normal(z) + 1.5)


def cut(size: int = 4) -> Toy:
    """The prior, of which the likelihood exists for z0 < 0.3 only; log Z is log Phi(0.3)."""
    return Toy(size, lambda z: jnp.where(z[0] < 0.3, log_standard_normal(z), jnp.nan))


def degenerate() -> Toy:
    """The data know z2, and of z0 and z1 the sum alone, to 0.1 each; nothing depends on z3.

    So z0 + z1 ~ N(1 / 1.005, 1 / 100.5), z0 - z1 ~ N(0, 2), z2 ~ N(0.5 / 1.01, 1 / 101) and z3 ~ N(0, 1), where the
    second number is a variance; log Z is that of normal distributions of variance 2.01 and 1.01.
    """

    def log_posterior(z: jax.Array) -> jax.Array:
        misfit = ((z[0] + z[1] - 1.0) / 0.1) ** 2 + ((z[2] - 0.5) / 0.1) ** 2
        return log_standard_normal(z) - 0.5 * misfit - 2 * np.log(0.1 * np.sqrt(2 * np.pi))

    return Toy(4, log_posterior)


EDGES = (0.0, -0.3, 0.0, -0.3)  # where the likelihoods of `edges` are highest; the priors begin at 0
EDGE_WIDTH = 0.1


def edges() -> Toy:
    """Uniform priors between 0 and 1, with the mode at the edge of two, and beyond it, of two; the first two are norms.

    The quantiles Phi(z) are independent, and normal with centres EDGES and EDGE_WIDTH but for the edge.
    """

    def log_posterior(z: jax.Array) -> jax.Array:
        misfit = jnp.sum(((normal_cdf(z) - jnp.asarray(EDGES)) / EDGE_WIDTH) ** 2)
        return log_standard_normal(z) - 0.5 * misfit - 4 * np.log(EDGE_WIDTH * np.sqrt(2 * np.pi))

    toy = Toy(4, log_posterior)
    toy.flux_axes = FluxAxes(np.array([0, 1]), NOTHING.reshape(0, 2), ())
    return toy


def wrong_gradient(size: int = 4) -> Toy:
    """The gradient along z2 is 5 % too large."""

    @jax.custom_jvp
    def value(x: jax.Array) -> jax.Array:
        return x

    value.defjvp(lambda at, speed: (at[0], 1.05 * speed[0]))
    return Toy(size, lambda z: log_standard_normal(z) - 0.5 * ((value(z[2]) - 1.0) / 0.3) ** 2)


def missing_gradient(size: int = 4) -> Toy:
    """The gradient along z2 is NaN for z2 above 0, where the posterior is as it is below."""

    @jax.custom_jvp
    def value(x: jax.Array) -> jax.Array:
        return x

    value.defjvp(lambda at, speed: (at[0], jnp.where(at[0] > 0.0, jnp.nan, 1.0) * speed[0]))
    return Toy(size, lambda z: log_standard_normal(z) - 0.5 * ((value(z[2]) + 0.1) / 0.3) ** 2)


def nowhere(size: int = 4) -> Toy:
    """The likelihood exists nowhere."""
    return Toy(size, lambda z: jnp.nan * jnp.sum(z))


def see_one_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all copies learn, and all walkers begin, at the highest mode alone; the climbs know the others."""
    begin = Emulation.begin

    def at_one(self: Emulation, start: Laplace, _recorded: Any) -> None:
        there = np.linalg.norm(start.optima_z - start.mode, axis=1) < 0.1
        begin(self, replace(start, optima=start.optima[there], optima_z=start.optima_z[there]), ())

    monkeypatch.setattr(Emulation, "begin", at_one)


def spoil_copies(monkeypatch: pytest.MonkeyPatch, slope: float) -> None:
    """Bend every copy after its training along the first coordinate [nat per width]."""
    train = Emulation._train

    def spoiled(self: Emulation, n_steps: int, *, anew: bool = False) -> Iterator[str]:
        yield from train(self, n_steps, anew=anew)
        network = self.copy.network
        self.copy = self.copy._replace(network={**network, "b": jnp.asarray(network["b"].at[0].add(slope))})

    monkeypatch.setattr(Emulation, "_train", spoiled)


def cliff(size: int = 4) -> Toy:
    """N(0, 1) but for z1 > 1.5, where it falls by hundreds of nat within a width."""
    return Toy(size, lambda z: log_standard_normal(z) - 800.0 * jnp.maximum(z[0] - 1.5, 0.0) ** 2)
