"""Hamiltonian Monte Carlo on the copy, many chains in step; it costs no likelihood. And the copy's evidence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.infer.emulator.copy import Copy, log_density, log_volume, white
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.evidence import Evidence, bridge_sampling
from gammasky.engine.model.values import Arrays

Floats = NDArray[np.float64]
CHAINS = 128
ACCEPTANCE = 0.8
SHORT, SHORTER = 0.25, 0.3  # share of transitions with a shorter step, and how much shorter it is
GROUPS = 16  # chains are judged in so many groups: one alone is short
N_TEMPERATURES = 60  # between N(0, 1) and the copy
FLATTEST, FLATTER = 0.25, 12  # power of the likelihood at the turn of an excursion, and steps on the way there


class Sampler:
    """Compiled transitions of CHAINS chains; the number of leapfrogs is jittered, the step is tuned on the way."""

    def __init__(self, target: Target) -> None:
        self.target = target
        program = target.model.program
        self._run = program(("emulator", "transitions"), lambda: jax.jit(self._transitions))
        single = partial(log_density, target)
        self._values = program(("emulator", "values"), lambda: jax.jit(jax.vmap(single, (None, None, None, 0))))

    def move(
        self, copy: Copy, u: Floats, key: jax.Array, step: float, transitions: int, leapfrogs: int,
        *, heat: float = 1.0, path: float = 1.0, tuning: float = 1.0,
    ) -> tuple[Floats, float, float]:  # fmt: skip
        """Chains u (CHAINS, D) after some transitions of up to `leapfrogs` steps each.

        Args:
            heat: power of the likelihood.
            path: 1 for the copy, 0 for N(0, 1) in u, a geometric path between.
            tuning: how fast the step follows the acceptance; 0 keeps it.

        Returns:
            u, the step and the mean acceptance.
        """
        u, step, accepted = self._run(
            self.target.arrays,
            copy,
            float(heat),
            float(path),
            u,
            key,
            float(step),
            transitions,
            leapfrogs,
            float(tuning),
        )
        return np.asarray(u), float(step), float(accepted)

    def excursion(self, copy: Copy, u: Floats, key: jax.Array, step: float) -> Floats:
        """Chains u (CHAINS, D) after a tempered transition (Neal 1996, "Sampling from multimodal distributions using
        tempered transitions"): by flatter and flatter likelihoods, on which modes are connected, and back.
        """
        heats, began = np.linspace(1.0, FLATTEST, FLATTER + 1), u
        log_ratio, number = np.zeros(len(u)), 0
        for way in (1, -1):
            for heat, flat in list(pairwise(heats))[::way]:
                if way == 1:
                    log_ratio += (flat - heat) * self._copied(copy, u)
                number += 1
                interrupt.check()
                u, _, _ = self.move(
                    copy, u, jax.random.fold_in(key, number), step / np.sqrt(flat), 2, 14, heat=flat, tuning=0.0
                )
                if way == -1:
                    log_ratio += (heat - flat) * self._copied(copy, u)
        chosen = np.asarray(jax.random.uniform(jax.random.fold_in(key, 0), log_ratio.shape))
        taken = np.log(chosen) < log_ratio
        return np.where(taken[:, None], u, began)

    def _copied(self, copy: Copy, u: Floats) -> Floats:
        """The copy of the log-likelihood (CHAINS,), without the reference, at u (CHAINS, D)."""
        whole, prior = (self._values(self.target.arrays, copy, heat, u) for heat in (1.0, 0.0))
        return np.asarray(whole - prior)

    def log_density(self, copy: Copy, u: Floats) -> Floats:
        """Log of the copy's density in x (n,), with the reference, at u (n, D)."""
        found = []
        for first in range(0, len(u), CHAINS):
            rows = np.minimum(np.arange(first, first + CHAINS), len(u) - 1)
            found.append(np.asarray(self._values(self.target.arrays, copy, 1.0, u[rows]))[: len(u) - first])
        return np.concatenate(found) + float(copy.reference)

    def evidence(self, copy: Copy, x: Floats, key: jax.Array, step: float) -> Iterator[Evidence]:
        """Log of the integral of the copy's density, and its error; NaN until the last that it yields.

        By annealing between N(0, 1) in u and the copy, both ways (Neal 2001, arXiv:physics/9803008): the works of the
        two ways are log ratios of densities of paths, and bridge sampling joins them.

        Args:
            x (CHAINS, D): draws of the copy.
            key: of all random numbers.
            step: of leapfrogs, tuned on the way.
        """
        size, works = self.target.size, []
        for way, u in enumerate((np.array(jax.random.normal(key, (CHAINS, size))), white(copy, x))):
            works.append(np.zeros(CHAINS))
            for number in range(N_TEMPERATURES):
                found = self.log_density(copy, u) - float(copy.reference)
                works[way] += (found + 0.5 * (u**2).sum(axis=1)) / N_TEMPERATURES
                path = (number + 1) / N_TEMPERATURES
                u, step, _ = self.move(
                    copy, u, jax.random.fold_in(key, 2 * number + way), step, 2, 8,
                    path=1 - path if way else path, tuning=0.3,
                )  # fmt: skip
                step = float(np.clip(step, 0.05, 0.5))
                yield Evidence(np.nan, np.nan)
        bridged = bridge_sampling(works[1].reshape(GROUPS, -1), works[0])
        constant = 0.5 * size * np.log(2 * np.pi) + log_volume(copy) + float(copy.reference)
        yield Evidence(bridged.log_z + constant, bridged.log_z_error)

    def _transitions(
        self, arrays: Arrays, copy: Copy, heat: Any, path: Any, u: jax.Array, key: jax.Array, step: Any,
        transitions: Any, leapfrogs: Any, tuning: Any,
    ) -> Any:  # fmt: skip
        of_copy = jax.vmap(jax.value_and_grad(lambda at: log_density(self.target, arrays, copy, heat, at)))

        def evaluate(u: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, gradients = of_copy(u)
            return path * values - (1 - path) * 0.5 * jnp.sum(u**2, axis=1), path * gradients - (1 - path) * u

        def transition(number: jax.Array, carry: Any) -> Any:
            u, values, gradients, log_step, accepted = carry
            first = number == 0  # its first leapfrog stands still: it finds values and gradients where the chains are
            of_momentum, of_choice, of_length, of_size = jax.random.split(jax.random.fold_in(key, number), 4)
            # now and then a short step, for places where the density is far narrower than elsewhere
            size = jnp.exp(log_step) * jnp.where(jax.random.bernoulli(of_size, SHORT), SHORTER, 1.0)
            momentum = jax.random.normal(of_momentum, u.shape)

            def leapfrog(number: jax.Array, at: Any) -> Any:
                moved, speed, slopes, _, values, gradients = at
                still = first & (number == 0)
                length = jnp.where(still, 0.0, size)
                speed = speed + 0.5 * length * slopes
                moved = moved + length * speed
                there, slopes = evaluate(moved)
                values, gradients = jnp.where(still, there, values), jnp.where(still, slopes, gradients)
                return moved, speed + 0.5 * length * slopes, slopes, there, values, gradients

            length = jax.random.randint(of_length, (), leapfrogs // 2, leapfrogs + 1) + first
            begin = (u, momentum, gradients, values, values, gradients)
            moved, speed, slopes, there, values, gradients = jax.lax.fori_loop(0, length, leapfrog, begin)
            change = there - values - 0.5 * jnp.sum(speed**2 - momentum**2, axis=1)
            chance = jnp.nan_to_num(jnp.exp(jnp.minimum(0.0, change)))
            taken = jax.random.uniform(of_choice, chance.shape) < chance
            change = jnp.where(size < jnp.exp(log_step), 0.0, chance.mean() - ACCEPTANCE)
            log_step = log_step + tuning * change / jnp.sqrt(1.0 + number)
            return (
                jnp.where(taken[:, None], moved, u), jnp.where(taken, there, values),
                jnp.where(taken[:, None], slopes, gradients), log_step, accepted + chance.mean(),
            )  # fmt: skip

        begin = (u, jnp.zeros(len(u)), jnp.zeros_like(u), jnp.log(jnp.asarray(step, dtype=float)), jnp.asarray(0.0))
        u, _, _, log_step, accepted = jax.lax.fori_loop(0, transitions, transition, begin)
        return u, jnp.exp(log_step), accepted / transitions
