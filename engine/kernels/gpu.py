"""CuPy, where there is one: CUDA sources compiled and launched, and what to do where a piece is missing.

A family's source lies beside its launcher (`nptf/nptf.cu`, `nptf/cuda.py`). CuPy compiles it for the device at hand
when a kernel is first asked for, once per process, and keeps the binary on disk (`CUPY_CACHE_DIR`).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.plan import LANES
from gammasky.engine.kernels.policy import SAFE_HIGH, SAFE_LOW

#: The files of each family's source, one after the other.
FAMILIES = {
    "bar": ("bar/bar.cu",),
    "nptf": ("nptf/recursion.cu", "nptf/nptf.cu", "nptf/teams.cu", "nptf/large.cu"),
    "nptf_energy": ("nptf/recursion.cu", "nptf_energy/nptf_energy.cu"),
    "poisson": ("poisson/poisson.cu",),
    "profiles": ("profiles/profiles.cu",),
}
#: How every source is compiled, here and in the tests: C++17, and the numbers that it shares with the CPU kernels.
OPTIONS = ("-std=c++17", f"-DSAFE_LOW={SAFE_LOW!r}", f"-DSAFE_HIGH={SAFE_HIGH!r}", f"-DLANES={LANES}")
#: Threads of a block where they have nothing to do with each other; a warp, where there are few of them or much work.
THREADS, WARP = 256, 32

_REMEDY = "pip install 'gammasky[cuda12]' (or cuda13), or choose the backend numba"


def array_library() -> Any:
    """CuPy, with a device to run on.

    Raises:
        InputError: CuPy, its driver or a device is missing; says which.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise InputError(f"backend 'cuda': expected CuPy, got: {_one_line(error)}; {_REMEDY}") from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"backend 'cuda': expected a CUDA device and its driver, got: {_one_line(error)}; see whether "
                         "nvidia-smi lists one, or choose the backend numba") from error  # fmt: skip
    if devices < 1:
        raise InputError("backend 'cuda': expected a CUDA device, got none; see CUDA_VISIBLE_DEVICES, or choose numba")
    return cupy


def description() -> str:
    """The current device and CuPy in words."""
    cupy = array_library()
    number = cupy.cuda.Device().id
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    name, major, minor = properties["name"].decode(), properties["major"], properties["minor"]
    return f"device {number}: {name}, sm_{major}{minor}, CuPy {cupy.__version__}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def source(family: str) -> str:
    """The CUDA source of a family, as it is compiled."""
    return "".join((Path(__file__).parent / path).read_text(encoding="utf-8") for path in FAMILIES[family])


@cache
def _module(cupy: Any, family: str) -> Any:
    return cupy.RawModule(code=source(family), options=OPTIONS)


@cache
def _kernel(cupy: Any, family: str, name: str) -> Any:
    return _module(cupy, family).get_function(name)


def prepare(family: str, *names: str) -> None:
    """Compile and load kernels now: inside a program that is being captured nothing may be loaded."""
    cupy = array_library()
    _multiprocessors(cupy, cupy.cuda.Device().id)
    for name in names:
        _kernel(cupy, family, name).max_threads_per_block  # noqa: B018  (asking loads it on the current device)


def launch(family: str, name: str, blocks: int, threads: int, *arguments: Any) -> None:
    """Start a kernel on the current stream; nothing where there is no work.

    Args:
        family, name: of the kernel.
        blocks, threads: blocks, each of so many threads. Kernels loop, so that fewer blocks do the same work.
        arguments: arrays of CuPy; whole numbers and floats, which the kernel gets as 64 bits.
    """
    if blocks > 0:
        _kernel(importlib.import_module("cupy"), family, name)((blocks,), (threads,), arguments)


def blocks_for(entries: int, per_block: int, per_processor: int) -> int:
    """Blocks for so many entries, but not more than `per_processor` on each multiprocessor of the current device."""
    cupy = importlib.import_module("cupy")
    return min(-(-entries // per_block), per_processor * _multiprocessors(cupy, cupy.cuda.Device().id))


@cache
def _multiprocessors(cupy: Any, device: int) -> int:
    return int(cupy.cuda.Device(device).attributes["MultiProcessorCount"])


_KEPT: WeakKeyDictionary[Any, dict[int, tuple[Any, ...]]] = WeakKeyDictionary()


def kept_on_device(owner: Any, arrays: Iterable[np.ndarray]) -> tuple[Any, ...]:
    """The arrays of `owner` on the current device, copied there once; they live as long as `owner`.

    They are there when this returns: XLA's streams do not wait for the one that copies.
    """
    cupy = importlib.import_module("cupy")
    by_device, device = _KEPT.setdefault(owner, {}), cupy.cuda.Device().id
    if device not in by_device:
        by_device[device] = tuple(cupy.asarray(array) for array in arrays)
        cupy.cuda.get_current_stream().synchronize()
    return by_device[device]


def on_device(number: int) -> AbstractContextManager[Any]:
    """Inside it, the device of this number is the current one."""
    device: AbstractContextManager[Any] = importlib.import_module("cupy").cuda.Device(number)
    return device


_ON_HOST = 1  # as DLPack numbers kinds of devices


def place(buffer: Any) -> int | None:
    """The device that holds one of XLA's buffers, as CUDA numbers it; None on the host."""
    kind, number = buffer.__dlpack_device__()
    return None if int(kind) == _ON_HOST else int(number)


def view(cupy: Any, buffer: Any, device: int) -> Any:
    """XLA's buffer as an array of CuPy. The device is told: CUDA need not be asked while it records a graph."""
    interface = buffer.__cuda_array_interface__
    shape, dtype, (pointer, _) = interface["shape"], np.dtype(interface["typestr"]), interface["data"]
    size = dtype.itemsize * math.prod(shape)
    memory = cupy.cuda.UnownedMemory(int(pointer), size, buffer, device)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))


@contextmanager
def on_stream(pointer: int, device: int) -> Iterator[Any]:
    """Work goes to the stream at `pointer` of a device; gives CuPy."""
    cupy = importlib.import_module("cupy")
    with cupy.cuda.Device(device), _stream_at(cupy, pointer):
        yield cupy


def _stream_at(cupy: Any, pointer: int) -> AbstractContextManager[Any]:
    """XLA's stream as one of CuPy's; the second way is deprecated since CuPy 14, the first is new there."""
    adopt = getattr(cupy.cuda.Stream, "from_external", None)
    stream: AbstractContextManager[Any] = adopt(_StreamPointer(pointer)) if adopt else cupy.cuda.ExternalStream(pointer)
    return stream


class _StreamPointer(NamedTuple):
    """A stream that somebody else owns, by the CUDA stream protocol."""

    pointer: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer  # version of the protocol, address


def on_host(kernel: Any, outputs: Any, inputs: Any, cupy: Any, device: int) -> None:
    """Run a host kernel on copies of device buffers, and wait until its results are on the device."""
    host = [np.empty(out.shape, out.dtype) for out in outputs]
    kernel(host, [cupy.asnumpy(view(cupy, value, device)) for value in inputs])
    for out, values in zip(outputs, host, strict=True):
        view(cupy, out, device).set(values)
    cupy.cuda.get_current_stream().synchronize()
