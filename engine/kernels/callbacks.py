"""The one place that knows how JAX calls a kernel, and which one.

`call` hands a function the buffers themselves (`jax.experimental.buffer_callback`): views, no copies; NumPy arrays on
the CPU, CuPy arrays and XLA's own stream on a GPU. It works under jit, scan and vmap; mapped axes arrive as leading
axes of the arrays, so that a kernel sees all particles at once.

A device kernel only launches: it neither allocates, copies nor waits. XLA may therefore record it in a command buffer
(a CUDA graph) and replay that without Python. Kernels without a device form run on the host, also on a GPU: their
buffers are copied there and back.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.buffer_callback import buffer_callback

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.derivatives import first_order

BACKENDS = ("auto", "cuda", "numba", "reference")
VARIABLE = "GAMMASKY_BACKEND"
Room = Callable[[int], Sequence[jax.ShapeDtypeStruct]]


def choose(backend: str) -> str:
    """The backend that runs: "numba", "cuda" or "reference".

    Args:
        backend: one of these; or "auto": what `GAMMASKY_BACKEND` says, else CUDA where JAX runs on a GPU, else Numba.

    Raises:
        InputError: an unknown name; or CUDA without JAX on a GPU, CuPy or a device.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if backend == "auto":
        backend = os.environ.get(VARIABLE) or "auto"
        if backend not in BACKENDS:
            raise unknown_name(VARIABLE, backend, BACKENDS)
    if backend == "auto":
        backend = "cuda" if platform() == "gpu" else "numba"
    if backend == "cuda":
        gpu.array_library()
        if platform() != "gpu":
            raise InputError(
                f"backend 'cuda': expected JAX on a GPU, got '{platform()}'; pip install 'gammasky[cuda12]' (or "
                "cuda13) and leave JAX_PLATFORMS unset, or choose the backend numba"
            )
    return backend


def platform() -> str:
    """Where JAX runs unless told otherwise: "cpu", "gpu", ..."""
    device = _default_device()
    if device is None:
        return str(jax.default_backend())
    return str(device if isinstance(device, str) else device.platform)


def _default_device() -> Any:
    """What `jax.default_device` was set to: a device, a platform's name, or None."""
    config: Any = jax.config  # JAX does not declare its attributes
    return config.jax_default_device


def prepare(load: Callable[..., None], *arguments: Any) -> None:
    """Call `load(*arguments)`, which puts kernels and fixed data on the current device, on the one that JAX uses."""
    with gpu.on_device(_device_number()):
        load(*arguments)


def _device() -> Any:
    """The device that JAX uses."""
    device = _default_device()
    return jax.local_devices()[0] if device is None or isinstance(device, str) else device


def _device_number() -> int:
    """That device, as CUDA numbers it."""
    return int(_device().local_hardware_id or 0)


def memory() -> int | None:
    """What JAX may take of the memory of the GPU that it uses [bytes]; None on a CPU, or where it does not say."""
    found = (_device().memory_stats() or {}) if platform() == "gpu" else {}
    return found.get("bytes_limit")


def on_arrays(function: Callable[..., tuple[Any, ...]], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """`function(xp, *arrays)`, with CuPy as xp where the kernels run on a GPU (`choose`), else with NumPy.

    For set-up arithmetic outside of JAX. Arrays and results are NumPy's: CuPy's are copies on the device that JAX uses.
    """
    if choose("auto") != "cuda":
        return function(np, *arrays)
    cupy = gpu.array_library()
    with gpu.on_device(_device_number()):
        found = function(cupy, *(cupy.asarray(array) for array in arrays))
        return tuple(cupy.asnumpy(part) for part in found)


def require_float64(operation: str, **arrays: Any) -> None:
    """Refuse anything but double precision, by name.

    Raises:
        TypeError: an array is not float64; the message names the operation and the array.
    """
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if dtype != jnp.float64:
            raise TypeError(
                f"{operation}: '{name}' must be float64, got {dtype}; "
                "call jax.config.update('jax_enable_x64', True) before creating arrays"
            )


def common_axes(
    operation: str, given: Mapping[str, jax.Array], expected: Mapping[str, tuple[int, ...]], longer: str = "x"
) -> tuple[jax.Array, ...]:
    """Bring arrays to the same leading axes; what a kernel would read beyond is refused.

    Args:
        operation: as errors name it.
        given: the arrays, by name.
        expected: the last axes of each of them, in the same order.
        longer: the array whose last axis may be longer than that.

    Raises:
        InputError: an array with other last axes, which it names.
        TypeError: an array that is not float64.
    """
    arrays = {name: jnp.asarray(array) for name, array in given.items()}
    require_float64(operation, **arrays)
    for (name, array), axes in zip(arrays.items(), expected.values(), strict=True):
        got = array.shape[-len(axes) :]
        if got[:-1] != axes[:-1] or (got[-1:] < axes[-1:] if name == longer else got != axes):
            raise InputError(f"{operation}: '{name}' must end in the axes {axes}, got shape {array.shape}")
    own = [(array, len(axes)) for array, axes in zip(arrays.values(), expected.values(), strict=True)]
    lead = jnp.broadcast_shapes(*(array.shape[:-last] for array, last in own))
    return tuple(jnp.broadcast_to(array, lead + array.shape[-last:]) for array, last in own)


def call(
    name: str,
    kernel: Callable[..., None],
    result: Sequence[jax.ShapeDtypeStruct],
    *arguments: jax.Array,
    constants: Sequence[Any] = (),
) -> tuple[jax.Array, ...]:
    """Run the host kernel `kernel(outputs, *constants, *arguments)` on NumPy arrays.

    Args:
        name: of the operation, for errors; differentiating what the kernel gives is one.
        kernel: fills the arrays of the tuple `outputs` in place; inputs must not be written to. Under vmap every
            input and output carries the same additional leading axes.
        result: shape and dtype of each output, without mapped axes; all have the same leading batch axes, if any.
        arguments: the inputs, JAX arrays.
        constants: fixed data, without batch axes of their own. The kernel gets each with ONE leading axis: of length 1,
            or where vmap maps one of them, of the number of mapped entries.

    Returns:
        One JAX array for each entry of `result`.
    """

    def run(outputs: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
        mapped = outputs[0].shape[: outputs[0].ndim - len(result[0].shape)]
        given = [_over(value, mapped) for value in inputs[len(constants) :]]
        kernel(tuple(outputs), *_one_leading_axis(list(inputs[: len(constants)]), mapped), *given)

    copies = platform() == "gpu"

    def on_buffers(context: Any, outputs: Any, *inputs: Any) -> None:
        device = gpu.place(outputs[0])
        if device is None:
            run([np.asarray(out) for out in outputs], [np.asarray(value) for value in inputs])
            return
        if not copies:
            raise InputError(f"{name}: its arrays are on GPU {device}, but JAX's default device is a CPU, where its "
                             "kernel was chosen; set jax.default_device to that GPU, or move the arrays")  # fmt: skip
        with gpu.on_stream(_stream(context), device) as cupy:
            gpu.on_host(run, outputs, inputs, cupy, device)

    # "expand_dims": what is not mapped arrives with axes of length 1, not copied for every mapped entry
    program = buffer_callback(on_buffers, tuple(result), vmap_method="expand_dims")
    return tuple(first_order(name, program)(*constants, *arguments))


def launch(
    name: str,
    kernel: Callable[..., None],
    result: Sequence[jax.ShapeDtypeStruct],
    *arguments: jax.Array,
    constants: Sequence[Any] = (),
    scratch: Room = lambda _entries: (),
    shared: int | None = None,
) -> tuple[jax.Array, ...]:
    """Run the device kernel `kernel(outputs, scratch, *constants, *arguments)` on CuPy arrays, on XLA's stream.

    As `call`; but only XLA may copy there.

    Args:
        name, kernel, result, arguments, constants: as there.
        scratch: from the number of mapped entries to shape and dtype of room to work in, for all of them together.
        shared: None for a kernel that needs every argument once for each mapped entry. Else the number of leading axes
            that the arguments have in common: one that vmap does not map, and whose own leading axes hold one entry,
            comes once.
    """
    single = [shared is not None and math.prod(array.shape[:shared]) == 1 for array in arguments]
    device = _Launch(name, kernel, tuple(result), len(constants), scratch)
    run = device.over((), (*(True for _ in constants), *single))
    return tuple(first_order(name, run)(*constants, *arguments))


class _Launch(NamedTuple):
    """A launch whose mapped axes grow from vmap to vmap; see `launch`."""

    name: str
    kernel: Callable[..., None]
    result: tuple[jax.ShapeDtypeStruct, ...]
    constants: int
    scratch: Room

    def over(self, mapped: tuple[int, ...], single: Sequence[bool]) -> Callable[..., tuple[jax.Array, ...]]:
        """The operation with leading axes `mapped`, which inputs that are `single` do not have."""

        @custom_vmap
        def run(*inputs: jax.Array) -> tuple[jax.Array, ...]:
            given = [jax.ShapeDtypeStruct((*mapped, *of.shape), of.dtype) for of in self.result]
            room = tuple(self.scratch(math.prod(mapped)))
            program = buffer_callback(partial(self._on_buffers, len(mapped), tuple(single)), (*given, *room),
                                      command_buffer_compatible=True)  # fmt: skip
            return tuple(program(*inputs)[: len(given)])

        @run.def_vmap
        def _one_more(size: int, moved: Sequence[bool], *inputs: jax.Array) -> tuple[Any, Any]:
            together = [any(moved[: self.constants])] * self.constants + list(moved[self.constants :])
            alone = [was and not now for was, now in zip(single, together, strict=True)]
            spread = [
                value if still else _spread(value, (size, *mapped), new, not was)
                for value, still, new, was in zip(inputs, alone, moved, single, strict=True)
            ]
            return self.over((size, *mapped), alone)(*spread), (True,) * len(self.result)

        return run

    def _on_buffers(self, axes: int, single: tuple[bool, ...], context: Any, buffers: Any, *inputs: Any) -> None:
        device = gpu.place(buffers[0])
        if device is None:
            raise InputError(
                f"{self.name}: its arrays are on a CPU, but its kernel was chosen for a GPU, where JAX runs; "
                "move the arrays there, or choose the backend numba"
            )
        with gpu.on_stream(_stream(context), device) as cupy:
            arrays = [gpu.view(cupy, buffer, device) for buffer in buffers]
            given = [gpu.view(cupy, value, device) for value in inputs]
            fixed = [
                array[None] if alone else _joined(array, axes)
                for array, alone in zip(given[: self.constants], single, strict=False)
            ]
            outputs = arrays[: len(self.result)]
            self.kernel(outputs, arrays[len(self.result) :], *fixed, *given[self.constants :])


def _spread(array: jax.Array, mapped: tuple[int, ...], new: bool, older: bool) -> jax.Array:
    """`array` with all leading axes `mapped`, of which it has the first if `new` and the others if `older`."""
    axes = int(new) + (len(mapped) - 1 if older else 0)
    own = array.shape[axes:]
    first = mapped[:1] if new else (1,)
    others = mapped[1:] if older else (1,) * (len(mapped) - 1)
    return jnp.broadcast_to(array.reshape(*first, *others, *own), (*mapped, *own))


def _stream(context: Any) -> int:
    """XLA's stream, as a number."""
    return int(context.stream)


def _joined(array: Any, axes: int) -> Any:
    """`array` with its first `axes` axes joined into one."""
    return array.reshape(math.prod(array.shape[:axes]), *array.shape[axes:])


def _over(array: np.ndarray, mapped: tuple[int, ...]) -> np.ndarray:
    """`array` with its leading axes, of length 1 where it is not mapped, stretched to `mapped`."""
    shape = mapped + array.shape[len(mapped) :]
    return array if array.shape == shape else np.ascontiguousarray(np.broadcast_to(array, shape))


def _one_leading_axis(constants: list[np.ndarray], mapped: tuple[int, ...]) -> list[np.ndarray]:
    """Constants with their leading axes joined into one, of length 1 if none of them is mapped."""
    axes = len(mapped)
    if all(math.prod(array.shape[:axes]) == 1 for array in constants):
        return [_joined(array, axes) for array in constants]
    return [_joined(_over(array, mapped), axes) for array in constants]
