"""What a GPU is asked to do, program by program: XLA compiles them for an H100 on a machine without one; see README.md.

    python benchmarks/launches.py [PROGRAM ...] [--loops-recorded] [--json]

It needs the CUDA plugin of the very JAX that is installed, which runs here without a driver:
`pip install jax-cuda13-pjrt==VERSION jax-cuda13-plugin==VERSION`, and ptxas and libdevice of that CUDA (nvcc on the
PATH). Nothing is executed. What is counted is XLA's final list of things to do ("thunks"), inside the loop of a
program for one turn of it, with inner loops of known length by their length.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PARTICLES = 8
#: The card that is compiled for, as XLA describes it.
TARGET = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072
  shared_memory_per_block_optin: 232448 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 } device_vendor: "NVIDIA Corporation" device_address_bits: 64
  name: "NVIDIA H100 80GB HBM3" driver_version: "13.0.0" runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0" dnn_version: "9.12.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
RECORD_LOOPS = "--xla_gpu_enable_command_buffer=+WHILE"
_THUNK = re.compile(r"(?<!\S)\d{3}: k(\w+)")
_COPIES = ("Copy", "DeviceToDeviceCopy", "Memset32BitValue", "MemzeroThunk", "Memzero")
_AROUND = ("CommandBuffer", "Sequential", "DynamicSliceFusion", "While", "Conditional")  # what is inside them counts


@dataclass(frozen=True)
class Launches:
    """What one turn of a program's loop, or the whole of a program without one, asks of a GPU.

    Attributes:
        kernels: of XLA, its matrix products among them.
        calls: of our kernels, each one or two launches.
        copies: of memory on the device.
        graphs: CUDA graphs that are started.
        round_trips: turns of loops that the host drives, each of which waits for a number from the device.
        once: launches before and after the loop.
    """

    kernels: int
    calls: int
    copies: int
    graphs: int
    round_trips: int
    once: int

    @property
    def launches(self) -> int:
        """Everything but graphs and round trips."""
        return self.kernels + self.calls + self.copies


def counted(thunks: str, trips: list[int | None]) -> Launches:
    """The launches of a program.

    Args:
        thunks: XLA's list of what is to be done.
        trips: turns of every loop, in the order of the list; None for one whose length is an argument.
    """
    inside, outside, loops, graph, lengths = Counter[str](), Counter[str](), [], -1, iter(trips)
    outer = next((i for i, n in enumerate(trips) if n is None), -1)
    for line in thunks.splitlines():
        for found in _THUNK.finditer(line):
            column, kind = found.start(), found.group(1)
            loops = [loop for loop in loops if loop[0] < column]
            graph = -1 if graph >= column else graph
            times = 1
            for _, turns in loops:
                times *= turns or 1
            into = inside if outer < 0 or loops else outside
            if kind == "CommandBuffer":
                graph = column if graph < 0 else graph
                into["graphs"] += times
            if kind == "While":
                turns = next(lengths)
                loops.append((column, turns))
                if graph < 0:
                    inside["round trips"] += times * (turns or 1)
            if kind not in _AROUND:
                into["calls" if kind == "CustomCall" else "copies" if kind in _COPIES else "kernels"] += times
    once = sum(number for name, number in outside.items() if name not in ("graphs", "round trips"))
    names = "kernels", "calls", "copies", "graphs", "round trips"
    return Launches(*(inside[name] for name in names), once)


def trips_of(hlo: str) -> list[int | None]:
    """Turns of every loop of a compiled program in the order in which it comes to them; None: not known."""
    bodies: dict[str, list[str]] = {}
    name, entry = "", ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line):
            name = head.group(2)
            bodies[name], entry = [], name if head.group(1) else entry
        elif name and " while(" in line:
            bodies[name].append(line)

    def walk(name: str) -> Iterator[int | None]:
        for line in bodies.get(name, []):
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            yield int(turns.group(1)) if turns else None
            body = re.search(r"body=%?([\w.\-]+)", line)
            assert body, line
            yield from walk(body.group(1))

    return list(walk(entry))


class Compiler:
    """XLA for a GPU that is not there.

    Raises:
        ImportError: the CUDA plugin of JAX, or nvcc's folder, is missing.
    """

    def __init__(self, *, loops_recorded: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="launches-"))
        nvcc = shutil.which("nvcc")
        if nvcc is None:
            raise ImportError("nvcc is not on the PATH: ptxas and libdevice are of its CUDA")
        toolkit = _toolkit(Path(nvcc))
        from gammasky.engine.runtime import GPU_FLAGS

        ours = (f"--{name}={value}" for name, value in GPU_FLAGS.items())  # as `configure` sets them
        flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_gpu_cuda_data_dir={toolkit}", *ours]
        flags += [f"--xla_dump_to={self.folder}", "--xla_dump_hlo_as_text", "--xla_dump_hlo_module_re=jit_measured"]
        os.environ["XLA_FLAGS"] = " ".join([*flags, RECORD_LOOPS if loops_recorded else ""])
        os.environ["PATH"] = f"{toolkit / 'bin'}{os.pathsep}{os.environ['PATH']}"
        os.environ["JAX_PLATFORMS"], os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "cpu", "1"
        import jax
        from jax.experimental import topologies

        jax.config.update("jax_enable_x64", True)
        topology = _topology(topologies)
        mesh = jax.sharding.Mesh(topology.devices[:1], ("one",))
        self._whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def launches(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Launches:
        """Those of `function(*arguments)`, compiled and not run."""
        import jax

        def measured(*given: Any) -> Any:
            return function(*given)

        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jax.numpy.shape(a), jax.dtypes.result_type(a)), arguments)
        places = jax.tree.map(lambda _: self._whole, arguments)
        lowered = jax.jit(measured, in_shardings=places, out_shardings=self._whole).trace(*shapes)
        before = set(self.folder.iterdir())
        compiled = lowered.lower(lowering_platforms=("cuda",)).compile()
        (thunks,) = (p for p in set(self.folder.iterdir()) - before if "sequence_after_thunk_passes" in p.name)
        text = thunks.read_text(encoding="utf-8")
        return counted(text, trips_of(compiled.as_text() or ""))

    def close(self) -> None:
        """Remove what XLA wrote."""
        shutil.rmtree(self.folder)


def _toolkit(nvcc: Path) -> Path:
    """The folder of a CUDA: that of nvcc, or the one that nvcc itself names where it is a link or a script."""
    import subprocess

    words = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True, check=False)
    (top,) = re.findall(r"TOP=(\S+)", words.stderr) or [str(nvcc.resolve().parents[1])]
    return Path(top).resolve()


def _topology(topologies: Any) -> Any:
    """One H100, by the CUDA plugin of this JAX.

    Raises:
        ImportError: there is no such plugin.
    """
    from jax._src import compiler, xla_bridge

    xla_bridge._discover_and_register_pjrt_plugins()
    if "cuda" not in xla_bridge._topology_factories:
        raise ImportError("the CUDA plugin of JAX is missing: pip install jax-cuda13-pjrt jax-cuda13-plugin")
    # a program for a topology takes no callbacks, since nobody is there to call them: theirs are only recorded
    whole = compiler.backend_compile_and_load
    compiler.backend_compile_and_load = lambda *given, **_: whole(*given[:4], ())  # type: ignore[assignment]
    return topologies.get_topology_desc(platform="cuda", topology_name="one", target_config=TARGET, topology="1x1x1")


def as_on_a_gpu() -> None:
    """From here on programs are traced as where JAX runs on a GPU; kernels are named and not loaded."""
    from gammasky.engine.kernels import callbacks

    callbacks.platform = lambda: "gpu"
    callbacks.choose = lambda backend: "cuda" if backend == "auto" else backend
    callbacks.prepare = lambda *_: None


def programs(data: str) -> dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]]:
    """Every program by name: what gives its function and its arguments."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from gammasky.engine.infer.copy_fit import CopyFit
    from gammasky.engine.infer.emulator import training
    from gammasky.engine.infer.emulator.copy import framed
    from gammasky.engine.infer.emulator.network import start
    from gammasky.engine.infer.emulator.sampling import CHAINS, Sampler
    from gammasky.engine.infer.emulator.target import Target
    from gammasky.engine.infer.guides.frame import frame_of
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.infer.svi import VariationalFit
    from gammasky.engine.model import SkyModel
    from gammasky.engine.sky.dataset import Dataset

    dataset = Dataset.open(data, None)
    target = Target(SkyModel("fiducial", dataset, backend="numba"))  # fills the caches
    size, key = target.size, jax.random.key(0)
    copy = framed(target, np.zeros(size), np.eye(size))
    width = size + len(copy.middle)
    copy = copy._replace(network=start(key, 0.0, np.zeros(width), -np.eye(width)))
    as_on_a_gpu()
    model = SkyModel("fiducial", dataset)

    def value_and_gradient() -> Any:
        both = jax.vmap(jax.value_and_grad(lambda z, arrays: model.log_density(z, arrays)), (0, None))
        return both, (jnp.zeros((PARTICLES, size)), model.arrays)

    def step_of(guide: str) -> Any:
        fit = VariationalFit(model, Settings(method="svi", emulator=False, guide=guide, particles=PARTICLES))
        state = fit._begin(frame_of(np.zeros(size), np.eye(size)), 0, 0)
        return fit._run_steps, (model.arrays, fit._key, state, jnp.asarray(5))

    def step_on_copy(guide: str) -> Any:
        fit = CopyFit(target, Settings(method="svi", guide=guide))
        state = fit.start(np.random.default_rng(0).normal(size=(4 * size, size)).astype(np.float32))
        draws, numbers = jnp.zeros((1000, size), jnp.float32), (jnp.int32(5), jnp.int32(100), jnp.float32(1e-3))
        return fit._run_steps, (target.arrays, copy, fit._key, state, draws, *numbers)

    def train() -> Any:
        rows = {"psi": width, "gradients": size}
        table = {name: jnp.zeros((training.MOST_POINTS, n), jnp.float32) for name, n in rows.items()}
        table |= {name: jnp.zeros(training.MOST_POINTS, jnp.float32) for name in ("values", "weights")}
        table["slopes"] = jnp.zeros((training.MOST_POINTS, width - size, size), jnp.float32)
        state = training._optimiser().init(copy.network)
        numbers = [jnp.int32(n) for n in (1000, 0, 100, 1000)]
        return training._run, (copy.network, state, table, numbers[0], key, *numbers[1:])

    def sample() -> Any:
        chains, one = jnp.zeros((CHAINS, size)), jnp.asarray(1.0)
        numbers = jnp.asarray(10), jnp.asarray(14)
        return Sampler(target)._transitions, (target.arrays, copy, one, one, chains, key, 0.1 * one, *numbers, one)

    return {
        "model": value_and_gradient,
        "svi iaf": lambda: step_of("iaf"),
        "svi flow": lambda: step_of("flow"),
        "training": train,
        "transitions": sample,
        "svi iaf on the copy": lambda: step_on_copy("iaf"),
        "svi flow on the copy": lambda: step_on_copy("flow"),
    }


def table(found: dict[str, Launches]) -> str:
    """One row for each program."""
    lines = ["| program | launches | kernels of XLA | our calls | copies | graphs | round trips | once |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, of in found.items():
        rest = f"{of.kernels} | {of.calls} | {of.copies} | {of.graphs} | {of.round_trips} | {of.once}"
        lines.append(f"| {name} | {of.launches} | {rest} |")
    return "\n".join(lines)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("programs", nargs="*", help="names; all, if none is given")
    parser.add_argument("--data", default="fermi")
    parser.add_argument("--loops-recorded", action="store_true", help=f"with XLA_FLAGS={RECORD_LOOPS}")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    compiler = Compiler(loops_recorded=given.loops_recorded)
    try:
        known = programs(given.data)
        found = {name: compiler.launches(*known[name]()) for name in given.programs or known}
    finally:
        compiler.close()
    print(json.dumps({name: asdict(of) for name, of in found.items()}) if given.json else table(found))


if __name__ == "__main__":
    main()
