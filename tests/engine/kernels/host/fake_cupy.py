"""A stand-in for CuPy without a GPU: device arrays are NumPy views, kernels the host build of the CUDA sources.

It takes what `gammasky.engine.kernels` uses of CuPy and no more, and is stricter than CuPy: each argument of a launch
is held against the parameter that the CUDA source declares at its place, and a launch outside a stream is an error.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gammasky.engine.kernels import gpu

HERE = Path(__file__).parent
STREAM = 4242  # XLA's
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(([^)]*)\)')
_TYPES = {"Index": np.int64, "double": np.float64, "int": np.int32, "unsigned long long": np.uint64}


class Parameter(NamedTuple):
    """One parameter of a kernel."""

    name: str
    dtype: Any
    pointer: bool
    written: bool


class Launch(NamedTuple):
    """One recorded launch; an array is its shape."""

    kernel: str
    blocks: int
    threads: int
    arguments: dict[str, Any]
    stream: int


def parameters_of(text: str) -> dict[str, list[Parameter]]:
    """The kernels that a CUDA source declares, with their parameters."""
    return {name: [_parameter(words) for words in listed.split(",")] for name, listed in _KERNEL.findall(text)}


def _parameter(words: str) -> Parameter:
    match = re.fullmatch(r"(const )?(\w[\w ]*?) (\*?)(\w+)", " ".join(words.split()))
    assert match, words
    constant, kind, star, name = match.groups()
    return Parameter(name, np.dtype(_TYPES[kind]), bool(star), bool(star) and not constant)


def build_on_host(family: str, folder: Path) -> ctypes.CDLL:
    """The CUDA source of a family, compiled by g++."""
    source = gpu.source(family)
    kernels = parameters_of(source)
    driver, library = folder / f"{family}.cpp", folder / f"{family}.so"
    lines = [f'#include "{HERE / "shim.h"}"', source, *(f"HOST_KERNEL({name})" for name in kernels)]
    driver.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfortified = "-U_FORTIFY_SOURCE"  # which forbids jumps between threads
    flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Wno-unknown-pragmas", "-Werror", unfortified]
    command = ["g++", *gpu.OPTIONS, *flags, "-o", str(library), str(driver)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(library))


class DeviceArray(np.ndarray):
    """An array that stands for one on the device."""

    @property
    def device(self) -> Device:
        return Device(0)

    def set(self, values: np.ndarray) -> None:
        assert not isinstance(values, DeviceArray)
        assert values.shape == self.shape
        np.asarray(self)[...] = values


class Device:
    """A device by its number; current inside `with`."""

    multiprocessors = 3
    current: ClassVar[list[int]] = [0]

    def __init__(self, number: int | None = None) -> None:
        self.id = self.current[-1] if number is None else number
        self.attributes = {"MultiProcessorCount": type(self).multiprocessors}

    def __enter__(self) -> Device:
        self.current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.current.pop() == self.id


class CUDARuntimeError(RuntimeError):
    """What CuPy's calls of the runtime raise."""


class FakeCupy(types.ModuleType):
    """The module, with a record of what was asked of it.

    Attributes:
        launches: every launch of a kernel.
        copies: arrays that went from the host to the device or back.
        falling: whether the threads of a block run in falling order.
    """

    def __init__(self, library: Callable[[str], ctypes.CDLL]) -> None:
        super().__init__("cupy")
        self.__version__ = "14.2.0"
        self.launches: list[Launch] = []
        self.copies, self.falling = 0, False
        self.library, self.streams = library, [0]
        self.devices = 1
        device = type("Device", (Device,), {"current": [0]})
        runtime = types.SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=lambda: self.devices,
            getDeviceProperties=lambda _number: {"name": b"Paper GPU", "major": 9, "minor": 0},
        )
        self.cuda = types.SimpleNamespace(
            Device=device,
            runtime=runtime,
            Stream=type("Stream", (), {"from_external": lambda foreign: Stream(self, _pointer_of(foreign))}),
            ExternalStream=self._deprecated_stream,
            get_current_stream=lambda: Stream(self, self.streams[-1]),
        )
        self.RawModule = lambda *, code, options: Module(self, code, options)

    def _deprecated_stream(self, pointer: int) -> Stream:
        assert not hasattr(self.cuda.Stream, "from_external"), "deprecated where there is from_external"
        return Stream(self, pointer)

    def asarray(self, value: Any) -> DeviceArray:
        """A view of an XLA buffer; a copy of a NumPy array, which is counted."""
        if isinstance(value, DeviceArray):
            return value
        if isinstance(value, np.ndarray):
            self.copies += 1
            return value.copy().view(DeviceArray)
        array = np.asarray(value).view(DeviceArray)
        array.flags.writeable = array.flags.writeable and value.writeable
        return array

    def empty(self, shape: Any, dtype: Any) -> DeviceArray:
        return np.full(shape, -1, dtype).view(DeviceArray)  # nobody may rely on zeros

    def asnumpy(self, array: DeviceArray) -> np.ndarray:
        assert isinstance(array, DeviceArray)
        self.copies += 1
        return np.array(array)


def _pointer_of(foreign: Any) -> int:
    version, pointer = foreign.__cuda_stream__()
    assert version == 0
    return int(pointer)


class Stream:
    """A stream by its number; current inside `with`."""

    def __init__(self, cupy: FakeCupy, pointer: int) -> None:
        self.cupy, self.ptr = cupy, pointer

    def __enter__(self) -> Stream:
        self.cupy.streams.append(self.ptr)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.cupy.streams.pop() == self.ptr

    def synchronize(self) -> None:
        pass


class Module:
    """A compiled source."""

    def __init__(self, cupy: FakeCupy, code: str, options: tuple[str, ...]) -> None:
        assert options == gpu.OPTIONS
        self.cupy, self.kernels = cupy, parameters_of(code)
        (self.family,) = (name for name in gpu.FAMILIES if gpu.source(name) == code)

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.cupy, self.cupy.library(self.family), name, self.kernels[name])


class Kernel:
    """One kernel of the host build."""

    def __init__(self, cupy: FakeCupy, library: ctypes.CDLL, name: str, parameters: list[Parameter]) -> None:
        self.cupy, self.name, self.parameters = cupy, name, parameters
        self.function = getattr(library, f"launch_{name}")
        self.max_threads_per_block = 1024

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: Sequence[Any]) -> None:
        ((blocks,), (threads,)) = grid, block
        assert 0 < blocks < 2**31
        assert 0 < threads <= self.max_threads_per_block
        assert len(arguments) == len(self.parameters), f"{self.name}: {len(arguments)} arguments"
        assert self.cupy.streams[-1] == STREAM, "a launch outside its stream"
        raw = [_address(self.name, *pair) for pair in zip(self.parameters, arguments, strict=True)]
        record = {p.name: a.shape if p.pointer else a for p, a in zip(self.parameters, arguments, strict=True)}
        self.cupy.launches.append(Launch(self.name, blocks, threads, record, self.cupy.streams[-1]))
        addresses = (ctypes.c_void_p * len(raw))(*(ctypes.addressof(value) for value in raw))
        code = self.function(blocks, threads, int(self.cupy.falling), addresses, len(raw))
        assert code == 0, f"{self.name}: the threads of a block parted at a barrier"


def _address(kernel: str, parameter: Parameter, value: Any) -> Any:
    """A launch argument as the C value that the kernel gets."""
    where = f"{kernel}, argument {parameter.name}"
    if not parameter.pointer:
        expected = float if parameter.dtype == np.float64 else int
        assert type(value) is expected, f"{where}: {type(value)}"
        return ctypes.c_double(value) if expected is float else ctypes.c_longlong(value)
    assert isinstance(value, DeviceArray), f"{where}: {type(value)} is not on the device"
    assert value.dtype == parameter.dtype, f"{where}: {value.dtype} for {parameter.dtype}"
    assert value.flags.c_contiguous, where
    assert value.flags.writeable or not parameter.written, f"{where}: an input is written to"
    return ctypes.c_void_p(value.ctypes.data)
