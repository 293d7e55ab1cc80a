"""Workers of `gpu_check.py`: the kernels launch by launch, and the profiles, against Numba; see there."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from gpu_turn import (
    DRY,
    PARTICLES,
    REPEATS,
    ROOM,
    TURNS,
    USUAL,
    Floats,
    fiducial,
    median_ms,
    prior_draws,
    ready,
    row,
    say,
)

KERNELS = {
    "nptf": ("nptf_teams", "nptf_large", "nptf_pixels", "nptf_regions"),
    "nptf_energy": ("joint_pixels",),
    "poisson": ("poisson_pixels",),
    "profiles": ("nfw_nodes", "nfw_pixels", "disk_pixels"),
    "bar": ("bar_pixels",),
}


def kernels() -> None:
    """Right against Numba, the same bits twice, registers, and times by events and in a graph."""
    import jax

    from gammasky.engine.bench import _point

    model = fiducial()
    plan = jax.tree.map(np.asarray, model.arrays["counts"]["plans"][0])
    of_term = jax.jit(jax.vmap(_point(model), (None, 0)))
    points = {b: [np.asarray(part) for part in of_term(model.arrays, prior_draws(model, b))] for b in PARTICLES}
    stored = {f"plan_{name}": part for name, part in plan._asdict().items()}
    np.savez(ROOM / "point.npz", **stored, **{f"point_{i}": part for i, part in enumerate(points[USUAL])})
    expected = {b: by_numba(plan, points[b]) for b in PARTICLES}
    others = other_kernels(model)
    if not DRY:
        usage()
    ready()
    for b in () if DRY else PARTICLES:
        of_device(plan, points[b], expected[b])
    run_others(others)
    if not DRY:
        many_and_large()
        captured_in_a_new_thread()


def usage() -> None:
    """Compile everything and say what it takes."""
    import cupy

    from gammasky.engine.kernels import gpu

    for family, names in KERNELS.items():
        gpu.prepare(family, *names)
        for name in names:
            kernel = gpu._kernel(cupy, family, name)
            taken = f"{kernel.local_size_bytes} B local, {kernel.shared_size_bytes} B shared"
            say(f"{name}: {kernel.num_regs} registers, {taken}")


def by_numba(plan: Any, point: list[Floats]) -> tuple[Floats, ...]:
    """log p, and the gradient of their sum, on the CPU."""
    from gammasky.engine.kernels.nptf import cpu

    log_p, gradient = np.empty_like(point[0]), tuple(np.zeros_like(part) for part in point)
    cpu.evaluate(type(plan)(*(part[None] for part in plan)), log_p, *point, np.ones_like(log_p), gradient)
    return log_p, *gradient


def numba() -> None:
    """The NPTF kernel on the CPUs of this machine, all threads."""
    from gammasky.engine.kernels.nptf.plan import PixelPlan

    ready()
    stored = np.load(ROOM / "point.npz")
    plan = PixelPlan(*(stored[f"plan_{name}"] for name in PixelPlan._fields))
    for b in PARTICLES:
        point = [np.resize(stored[f"point_{i}"], (b, *stored[f"point_{i}"].shape[1:])) for i in range(3)]
        by_numba(plan, point)
        start = time.perf_counter()
        by_numba(plan, point)
        cpus = len(os.sched_getaffinity(0))
        row(f"NPTF value and gradient by Numba, {cpus} CPUs, B={b}", 1e3 * (time.perf_counter() - start), "ms")


class OnDevice:
    """Arrays of the NPTF kernel on a device, what it fills poisoned: nobody may rely on zeros."""

    def __init__(self, plan: Any, point: list[Floats]) -> None:
        import cupy

        from gammasky.engine.kernels.nptf import cuda

        self.layout = cuda.Layout(*(cupy.asarray(part[None]) for part in cuda.Layout.of(plan)))
        self.point = [cupy.asarray(part) for part in point]
        shapes = cuda.Scratch.shapes(len(point[0]), plan.group_region.shape[-1], point[2].shape[1:])
        left = cupy.full(shapes.left, 7, cupy.int32)
        self.scratch = cuda.Scratch(cupy.full(shapes.rows, cupy.nan), left, cupy.full(shapes.partial, cupy.nan))
        self.log_p = cupy.full_like(self.point[0], cupy.nan)
        self.gradient = tuple(cupy.full_like(part, cupy.nan) for part in self.point)
        self.ones, self._evaluate = cupy.ones_like(self.log_p), cuda.evaluate

    def value(self) -> None:
        """Launch for log p alone."""
        self._evaluate(self.layout, self.log_p, self.scratch, *self.point)

    def both(self) -> None:
        """Launch for log p and the gradient."""
        self._evaluate(self.layout, self.log_p, self.scratch, *self.point, self.ones, self.gradient)

    def found(self) -> list[Floats]:
        """What was filled, once it is there."""
        import cupy

        cupy.cuda.get_current_stream().synchronize()
        return [cupy.asnumpy(part) for part in (self.log_p, *self.gradient)]


def of_device(plan: Any, point: list[Floats], expected: tuple[Floats, ...]) -> None:
    """Values, bits and times of the NPTF kernel."""
    import cupy

    arrays, b = OnDevice(plan, point), len(point[0])
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        arrays.both()
        found = arrays.found()
        arrays.both()
        same = all(np.array_equal(*pair) for pair in zip(found, arrays.found(), strict=True))
        parts = 0.0, 1.0, np.abs(point[2][:, :, plan.region, 0]), 0.0
        worst = max(
            float((np.abs(one - other) / (np.abs(other) + part + 1e-290)).max())
            for one, other, part in zip(found, expected, parts, strict=True)
        )
        row(f"NPTF B={b}: largest difference from Numba (bound 1e-11)", worst)
        row(f"NPTF B={b}: same bits twice (1 = yes)", same)
        row(f"NPTF B={b}: value and gradient, by events", events_ms(stream, arrays.both), "ms")
        row(f"NPTF B={b}: value alone, by events", events_ms(stream, arrays.value), "ms")
        stream.begin_capture()
        for _ in range(20):
            arrays.both()
        graph = stream.end_capture()
        row(
            f"NPTF B={b}: value and gradient, of a graph of 20",
            events_ms(stream, lambda: graph.launch(stream)) / 20,
            "ms",
        )


def many_and_large() -> None:
    """Times of many pixels, and of large counts."""
    import cupy

    from gammasky.engine.kernels.nptf.plan import PixelPlan

    rng, stream = np.random.default_rng(0), cupy.cuda.Stream(non_blocking=True)
    for pixels, count in ((10**5, 2), (10**6, 2), (7000, 20), (7000, 100), (7000, 300), (132, 1000), (132, 5000)):
        plan = PixelPlan.build(rng.poisson(count, pixels), np.zeros(pixels, np.int64), 1)
        x = np.exp(-0.5 * np.arange(plan.max_count + 1.0))[None, None, None]  # sources of a few photons
        x[..., 0] = -x.sum()
        arrays = OnDevice(plan, [np.full((1, pixels), 0.9 * count), np.full((1, 1, pixels), 0.1 * count), x])
        cupy.cuda.Device().synchronize()
        with stream:
            row(f"NPTF, {pixels} pixels of {count} photons, B=1", events_ms(stream, arrays.both, 5), "ms")


def events_ms(stream: Any, function: Callable[[], None], repeats: int = REPEATS) -> float:
    """Time of what is put into a stream, by its own clock."""
    import cupy

    times = []
    for _ in range(2 + repeats):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record(stream)
        function()
        end.record(stream)
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end))
    return float(np.median(times[2:]))


def captured_in_a_new_thread() -> None:
    """What a callback does while XLA records a graph: it captures "thread local", where unsafe calls are errors."""
    import cupy

    from gammasky.engine.kernels import gpu
    from gammasky.engine.kernels.poisson import cuda

    device = cupy.cuda.Device().id
    counts, ones = cupy.zeros((1, 4)), cupy.ones((1, 4))
    log_p, slope = cupy.full((1, 4), cupy.nan), cupy.full((1, 4), cupy.nan)
    buffers = [
        SimpleNamespace(__cuda_array_interface__=dict(part.__cuda_array_interface__))
        for part in (counts, ones, ones, log_p, slope)
    ]
    stream, errors = cupy.cuda.Stream(non_blocking=True), []

    def record() -> None:
        try:
            cupy.cuda.Device(device).use()
            stream.begin_capture(1)  # cudaStreamCaptureModeThreadLocal
            with gpu.on_stream(stream.ptr, device) as module:
                cuda.evaluate(*(gpu.view(module, buffer, device) for buffer in buffers))
            graph = stream.end_capture()
            graph.launch(stream)
            stream.synchronize()
        except Exception as error:
            errors.append(error)

    cupy.cuda.Device().synchronize()
    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    say("captured in a new thread:", errors or "no error", cupy.asnumpy(log_p))
    row("launches may be recorded in a new thread (1 = yes)", not errors and bool((log_p == -1.0).all()))


def other_kernels(model: Any) -> list[tuple[Any, ...]]:
    """Disk, NFW and bar: compiled programs, and what Numba gives."""
    import jax
    import jax.numpy as jnp

    from gammasky.engine.kernels.bar.geometry import BarSky
    from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar
    from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
    from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared

    lon, lat = model.pixels.lon_deg, model.pixels.lat_deg
    nfw, disk, bar = NFWSky.build(lon, lat), DiskSky.build(lon, lat), BarSky.build(lon[::50], lat[::50])
    shape = {name: float(value) for name, value in FREUDENREICH_S.items()}
    functions: dict[str, Callable[[str, Any], Any]] = {
        "NFW": lambda backend, s: nfw_squared(1.0 + 0.1 * s, nfw, backend=backend),
        "disk": lambda backend, s: lorimer_disk(0.4 + 0.1 * s, 3.0 + s, 0.5 + 0 * s, disk, backend=backend),
        "bar": lambda backend, s: triaxial_bar(**{**shape, "angle_deg": 13.0 + s}, sky=bar, backend=backend),
    }
    programs, here, eight = [], "numba" if DRY else "cuda", jnp.linspace(0.0, 1.0, 8)
    for name, function in functions.items():
        both = lambda backend, of=function: jax.vmap(  # noqa: E731
            jax.value_and_grad(lambda s: jnp.log(of(backend, s)).sum())
        )

        def many(s: Any, of: Any = both(here)) -> Any:  # noqa: B008
            return jax.lax.fori_loop(0, TURNS, lambda _, c: c + 1e-9 * of(s + c)[1], jnp.zeros_like(s))

        with jax.default_device(jax.devices("cpu")[0]):
            expected = [np.asarray(part) for part in jax.jit(both("numba"))(np.linspace(0.0, 1.0, 8))]
        once = jax.jit(both(here)).lower(eight).compile()
        loops = {b: jax.jit(many).lower(jnp.linspace(0.0, 1.0, b)).compile() for b in PARTICLES[1:]}
        programs.append((name, once, eight, expected, loops))
    return programs


def run_others(programs: list[tuple[Any, ...]]) -> None:
    """Values and times of the profiles."""
    import jax.numpy as jnp

    for name, once, eight, expected, loops in programs:
        worst = max(float(np.max(np.abs(np.asarray(a) / e - 1))) for a, e in zip(once(eight), expected, strict=True))
        row(f"{name}: largest relative difference from Numba (bound 1e-10)", worst)
        for b, loop in loops.items():
            of_turn = median_ms(loop, jnp.linspace(0.0, 1.0, b), repeats=min(REPEATS, 10)) / TURNS
            row(f"{name}, value and gradient, B={b}: a turn of a loop", of_turn, "ms")


def launch() -> None:
    """For CUDA's own tools: the NPTF kernels alone; of all pixels, or of 300 with "small"."""
    import cupy

    from gammasky.engine.kernels.nptf.plan import PixelPlan

    stored = np.load(ROOM / "point.npz")
    plan = PixelPlan(*(stored[f"plan_{name}"] for name in PixelPlan._fields))
    mean, templates, x = (stored[f"point_{i}"] for i in range(3))
    if sys.argv[2:] == ["small"]:
        keep = np.sort(np.random.default_rng(0).permutation(mean.shape[1])[:300])
        plan = PixelPlan.build(plan.counts[keep], plan.region[keep], plan.n_regions)
        mean, templates, x = mean[:2, keep].copy(), templates[:2, :, keep].copy(), x[:2].copy()
        mean[:, ::20], templates[:, :, ::20] = 1e-12, 1e-150  # those that need scaling
    arrays = OnDevice(plan, [mean, templates, x])
    for _ in range(2):
        arrays.both()
    cupy.cuda.Device().synchronize()
    print("finite", all(np.isfinite(part).all() for part in arrays.found()))
