"""The workers of `gpu_check.py`: each compiles, waits for its turn, and leaves rows of the table."""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_kernels import kernels, launch, numba
from gpu_turn import DRY, PARTICLES, ROOM, STEPS, TURNS, USUAL, fiducial, median_ms, prior_draws, ready, row, say

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


def profile() -> None:
    """Where value and gradient of the model spend their time on the device, kernel by kernel, without graphs."""
    sky = fiducial()
    import jax

    points = [prior_draws(sky, b) for b in PARTICLES[1:]]
    for z in points:
        jax.block_until_ready(sky.value_and_gradient(z))
    ready()
    for z in points:
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(TURNS):
                    jax.block_until_ready(sky.value_and_gradient(z))
            taken = on_device(Path(folder))
        total = sum(seconds for seconds, _ in taken.values()) / TURNS
        row(f"model, value and gradient, B={len(z)}: kernels alone, without graphs", 1e3 * total, "ms")
        for name, (seconds, times) in sorted(taken.items(), key=lambda item: -item[1][0]):
            say(f"B={len(z)}: {1e6 * seconds / TURNS:8.2f} us in {times / TURNS:g} launches of {name}")


def on_device(folder: Path) -> dict[str, tuple[float, int]]:
    """Of a trace, the time [s] and the launches of each kernel."""
    import jax

    taken: dict[str, tuple[float, int]] = {}
    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines if plane.name.startswith("/device:GPU") else ():
                for event in line.events if line.name.startswith("Stream") else ():
                    seconds, times = taken.get(event.name, (0.0, 0))
                    taken[event.name] = seconds + 1e-9 * event.duration_ns, times + 1
    return taken


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
    """A whole fit by the default method, twice: the second finds its programs compiled, and is looked into."""
    sky = fiducial()
    from gammasky.engine.infer.run import fit as whole
    from gammasky.engine.infer.settings import Settings

    ready()
    for name in ("a fit by the default method, compilation included", "the same again"):
        start, told, looked, words = time.perf_counter(), "", cProfile.Profile(), io.StringIO()

        def watch(stage: Any, begun: float = start) -> None:
            nonlocal told
            text = stage.progress()[2].partition(",")[0].lstrip("0123456789 ")
            if text != told:
                told = text
                say(f"{time.perf_counter() - begun:7.2f} s {stage.progress()[2]}")

        found = looked.runcall(whole, sky, Settings(), watch=watch)
        row(name, time.perf_counter() - start, "s")
        say(found.verdict, found.diagnostics)
        for order in ("cumulative", "tottime"):
            pstats.Stats(looked, stream=words).sort_stats(order).print_stats(70)
        (ROOM / f"{name}, by function.txt").write_text(words.getvalue(), encoding="utf-8")


def lanes() -> None:
    """Fits side by side, to be held against one after the other; see `lanes.py`, whose part this is."""
    ready()
    import gammasky

    gammasky.configure()
    from lanes import Way, run

    from gammasky.analyses.calibration.run import Calibration, simulate_skies
    from gammasky.engine.model.programs import Programs

    number = 2 if DRY else 32
    skies = simulate_skies(Calibration("fiducial", "fermi", skies=number))
    programs = Programs(number)
    for name in ("the first time, compilation included", "again"):
        start = time.perf_counter()
        run(skies, range(number), Way(number, True), programs)
        row(f"fits of fiducial, {number} side by side, each, {name}", (time.perf_counter() - start) / number, "s")
        say(f"a call answers {programs.gathering.answers / programs.gathering.calls:.1f}")


if __name__ == "__main__":
    known: dict[str, Callable[..., None]] = {
        "kernels": kernels, "launch": launch, "numba": numba, "tests": tests, "model": model, "profile": profile,
        "svi": svi, "nuts": nuts, "fit": fit, "lanes": lanes,
    }  # fmt: skip
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the tests
    known[sys.argv[1]](*sys.argv[2:] if sys.argv[1] == "svi" else ())
