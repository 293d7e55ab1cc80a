"""The workers of `gpu_check.py`: each compiles, waits for its turn, and leaves rows of the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_kernels import kernels, launch, numba
from gpu_turn import DRY, PARTICLES, STEPS, TURNS, USUAL, fiducial, median_ms, prior_draws, ready, row, say

TESTS = Path(__file__).resolve().parents[1] / "tests" / "engine" / "kernels"


def tests() -> None:
    """The tests that need a device and no fit."""
    import pytest

    ready()
    options = ["-m", "gpu", "-s", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "--durations=5"]
    code = pytest.main([*options, "-k", "not takes and not take", str(TESTS)])
    row("tests on a device (0 = passed)", int(code))


def model() -> None:
    """Value and gradient of the whole model: a call, a turn of a loop, and how often Python is asked."""
    sky = fiducial()
    import jax
    import jax.numpy as jnp

    from gammasky.engine.kernels import callbacks

    asked, plain = [0], callbacks._stream

    def counted(context: Any) -> int:
        asked[0] += 1
        return plain(context)

    callbacks._stream = counted
    both = jax.vmap(jax.value_and_grad(lambda z, arrays: sky.log_density(z, arrays)), (0, None))

    def loop(z: Any, arrays: Any) -> Any:
        return jax.lax.fori_loop(0, TURNS, lambda _, c: c + 1e-9 * both(z + c, arrays)[1], jnp.zeros_like(z))

    single, many = jax.jit(both), jax.jit(loop)
    points = {b: jnp.asarray(prior_draws(sky, b)) for b in PARTICLES}
    for z in points.values():
        jax.block_until_ready((single(z, sky.arrays), many(z, sky.arrays)))
    with jax.default_device(jax.devices("cpu")[0]):
        expected = fiducial("numba").value_and_gradient(prior_draws(sky, USUAL))
    ready()
    for b, z in points.items():
        row(f"model, value and gradient, B={b}: a call", median_ms(single, z, sky.arrays), "ms")
        row(
            f"model, value and gradient, B={b}: a turn of a loop",
            median_ms(many, z, sky.arrays, repeats=10) / TURNS,
            "ms",
        )
    asked[0] = 0
    for _ in range(2 if DRY else 100):
        jax.block_until_ready(single(points[USUAL], sky.arrays))
    row("Python callbacks in 100 calls (0 = graphs are replayed; 400 = none is)", asked[0])
    found = single(points[USUAL], sky.arrays)
    for name, one, other in zip(("value", "gradient"), found, expected, strict=True):
        worst = np.max(np.abs(np.asarray(one) - other)) / np.abs(other).max()
        row(f"model: largest difference from Numba, {name}, of the largest", worst)
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(single(points[USUAL], sky.arrays))
    row("a step copies nothing between host and device (1 = yes)", 1.0)


def svi(guide: str) -> None:
    """Steps of a variational fit from the Laplace approximation."""
    sky = fiducial()
    from gammasky.engine.infer.optimise import laplace
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.infer.svi import VariationalFit

    settings = Settings(method="svi", emulator=False, guide=guide, particles=USUAL, steps=5000)
    fit = VariationalFit(sky, settings)
    first = laplace(sky, 0, 1)
    start = time.perf_counter()
    state, _ = fit.advance(fit.start(first), 2)
    compiled = time.perf_counter() - start
    ready()
    row(f"svi {guide}, B={USUAL}: compilation and two steps", compiled, "s")
    start = time.perf_counter()
    after, bound = fit.advance(state, STEPS)
    done = int(after["step"]) - int(state["step"])
    row(f"svi {guide}, B={USUAL}: a step, of {done} in one call", 1e3 * (time.perf_counter() - start) / done, "ms")
    row(f"svi {guide}, B={USUAL}: mean of the last bounds", float(np.mean(bound[-50:])))


def nuts() -> None:
    """Leapfrogs of four chains in step."""
    sky = fiducial()
    from gammasky.engine.infer.nuts import Chains, ChainSettings
    from gammasky.engine.infer.optimise import dispersed_starts, laplace

    chains = Chains(sky, ChainSettings())
    state = chains.start(dispersed_starts(sky, 0, 4), laplace(sky, 0, 1))
    state, _ = chains.advance(state, 1)
    ready()
    start = time.perf_counter()
    state, chunk = chains.advance(state, 1 if DRY else 10)
    turns = float(np.max(chunk.leapfrogs, axis=1).sum())
    row("nuts, 4 chains: a leapfrog of all", 1e3 * (time.perf_counter() - start) / turns, "ms")


def fit() -> None:
    """A whole fit by the default method, twice: the second finds its programs compiled."""
    sky = fiducial()
    from gammasky.engine.infer.run import fit as whole
    from gammasky.engine.infer.settings import Settings

    ready()
    for name in ("a fit by the default method, compilation included", "the same again"):
        start = time.perf_counter()
        found = whole(sky, Settings())
        row(name, time.perf_counter() - start, "s")
        say(found.verdict, found.diagnostics)


if __name__ == "__main__":
    known: dict[str, Callable[..., None]] = {
        "kernels": kernels, "launch": launch, "numba": numba, "tests": tests, "model": model, "svi": svi, "nuts": nuts,
        "fit": fit,
    }  # fmt: skip
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the tests
    known[sys.argv[1]](*sys.argv[2:] if sys.argv[1] == "svi" else ())
