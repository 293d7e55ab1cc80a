"""How fast the likelihood is on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.op import total_log_likelihood
from gammasky.engine.kernels.nptf_energy.op import total_joint_log_likelihood
from gammasky.engine.kernels.threads import thread_count
from gammasky.engine.memory import bytes_of, require_memory
from gammasky.engine.model import SkyModel
from gammasky.engine.model.terms import JointNptfTerm, NptfTerm
from gammasky.engine.model.values import Arrays
from gammasky.engine.sky.dataset import Dataset

#: Consecutive evaluations in one compiled scan, as in a fit; and timed calls of the slow reference.
STEPS, REFERENCE_REPEATS = 5, 2
SEED = 0

#: What the operation takes, as `kernel_point` of the term gives it.
Point = tuple[jax.Array, ...]


def likelihood_benchmark(
    data: str, data_dir: Path | None, particles: int, repeats: int, model: str = "fiducial"
) -> dict[str, float | int]:
    """Time value and gradient of a model at prior draws, `particles` at a time inside a jitted scan.

    Args:
        data: a dataset's name, folder or manifest; data_dir: where its files lie.
        particles: parameter points per evaluation.
        repeats: timed calls, of which the median counts; compilation is not timed.
        model: a preset's name or a TOML file.

    Returns:
        model_ms_per_particle: log density of the whole model and its gradient by z.
        op_ms_per_particle: the NPTF operation and its gradient alone, at the same points.
        reference_ratio: time of the plain-JAX reference of that operation, one point, over op_ms_per_particle.
        particles, threads: the numbers used.

    Raises:
        InputError: a dataset or model that cannot be used, a model without point sources, or more particles than a GPU
            has memory for.
    """
    sky = SkyModel(model, Dataset.open(data, data_dir))
    if not isinstance(sky.counts_term, NptfTerm | JointNptfTerm):
        raise InputError(f"`model` {model}: no point sources, whose operation is timed; choose another")
    z = jnp.asarray(np.random.default_rng(SEED).normal(size=(STEPS, particles, sky.n_latent)))
    points = jax.jit(jax.vmap(jax.vmap(_point(sky), (None, 0)), (None, 0)))(sky.arrays, z)
    first = jax.tree.map(lambda values: values[0, 0], points)
    per_particle = 1e3 / (STEPS * particles)
    whole = _scan(_density(sky))
    require_memory("particles", particles, lambda n: bytes_of(jax.jit(whole), sky.arrays, z[:, :n]))
    model_ms = per_particle * _median_seconds(whole, (sky.arrays, z), repeats)
    op_ms = per_particle * _median_seconds(_scan(_operation(sky, sky.backend)), (sky.arrays, points), repeats)
    reference = jax.value_and_grad(_operation(sky, "reference"), argnums=1)
    reference_ms = 1e3 * _median_seconds(reference, (sky.arrays, first), min(repeats, REFERENCE_REPEATS))
    return {
        "model_ms_per_particle": model_ms,
        "op_ms_per_particle": op_ms,
        "reference_ratio": reference_ms / op_ms,
        "particles": particles,
        "threads": thread_count(),
    }


def _density(model: SkyModel) -> Callable[[Arrays, jax.Array], jax.Array]:
    return lambda arrays, z: model.log_density(z, arrays)


def _operation(model: SkyModel, backend: str) -> Callable[[Arrays, Point], jax.Array]:
    """The sum over pixels of the operation of the model's term."""
    if isinstance(model.counts_term, JointNptfTerm):
        return lambda arrays, point: total_joint_log_likelihood(arrays["counts"]["plans"][0], *point, backend=backend)
    return lambda arrays, point: total_log_likelihood(arrays["counts"]["plans"][0], *point, backend=backend)


def _point(model: SkyModel) -> Callable[[Arrays, jax.Array], Point]:
    """What the operation is given at z."""

    def ingredients(arrays: Arrays, z: jax.Array) -> Point:
        term, sky = model.counts_term, model.sky(model.parameters(z, arrays), arrays)
        assert isinstance(term, NptfTerm | JointNptfTerm)  # as above
        return term.kernel_point(sky, arrays["counts"])

    return ingredients


def _scan(density: Callable[[Arrays, Any], jax.Array]) -> Callable[[Arrays, Any], tuple[jax.Array, Any]]:
    """Sum over steps of the values and gradients of a batch of points, one batch a step."""
    both = jax.vmap(jax.value_and_grad(density, argnums=1), (None, 0))

    def run(arrays: Arrays, batches: Any) -> tuple[jax.Array, Any]:
        def step(total: Any, batch: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, both(arrays, batch)), None

        start = jax.tree.map(lambda values: jnp.zeros_like(values[0]), batches)
        return jax.lax.scan(step, (jnp.zeros(jax.tree.leaves(batches)[0].shape[1]), start), batches)[0]

    return run


def _median_seconds(function: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    """Median wall time of a compiled call."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
