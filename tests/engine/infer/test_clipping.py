"""The length of a gradient: right, and the same to the last bit on any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gammasky.engine.infer.clipping import clip_by_norm, norm_of

TREE = {"weights": np.arange(12.0).reshape(3, 4), "bias": np.array([2.0, -1.0]), "a": np.float64(3.0)}


def test_the_norm_is_of_all_numbers() -> None:
    every = np.concatenate([np.ravel(leaf) for leaf in TREE.values()])
    np.testing.assert_allclose(norm_of(TREE), np.linalg.norm(every), rtol=1e-14)
    assert norm_of({"a": jnp.float32(2.0)}).dtype == jnp.float32
    assert np.isnan(norm_of({"a": np.array([1.0, np.nan])}))


@pytest.mark.parametrize("largest", [5.0, 100.0])
def test_gradients_are_clipped_as_optax_does(largest: float) -> None:
    ours, _ = clip_by_norm(largest).update(TREE, optax.EmptyState())
    theirs, _ = optax.clip_by_global_norm(largest).update(TREE, optax.EmptyState())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), ours, theirs)


_RUN = """
import hashlib
import jax, jax.numpy as jnp, numpy as np
from gammasky.engine.infer.clipping import norm_of
from gammasky.engine.infer.emulator import network, training

jax.config.update("jax_enable_x64", True)
rng, size, n = np.random.default_rng(0), 37, 256
shapes = {"psi": (n, size), "slopes": (n, 0, size), "values": (n,), "gradients": (n, size)}
table = {name: jnp.asarray(10 * rng.standard_normal(shape), jnp.float32) for name, shape in shapes.items()}
table["weights"] = jnp.ones(n, jnp.float32)
start = network.start(jax.random.key(0), 0.0, np.ones(size), np.eye(size))
state = training._optimiser().init(start)
steps = jax.jit(lambda *of: training._run(*of))
learnt, _ = steps(start, state, table, jnp.int32(n), jax.random.key(1), jnp.int32(0), jnp.int32(25), 25)
norms = jax.jit(norm_of)
found = [np.asarray(leaf) for leaf in jax.tree.leaves(learnt)]
found += [np.asarray(norms({"w": rng.standard_normal((256, 256)).astype(np.float32)})) for _ in range(30)]
print(hashlib.sha256(b"".join(part.tobytes() for part in found)).hexdigest())
"""


@pytest.mark.slow
def test_training_is_the_same_on_any_number_of_threads() -> None:
    digests = set()
    for threads in ("1", "2", "5"):
        environment = {**os.environ, "NPROC": threads, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", _RUN], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
