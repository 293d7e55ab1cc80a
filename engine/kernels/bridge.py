"""The one place that knows how JAX calls a kernel.

`call` hands a NumPy function the device buffers themselves (`jax.experimental.buffer_callback`): views, no copies. It
works under jit, scan and vmap; mapped axes arrive as leading axes of the arrays, so that a kernel sees all particles at
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

BACKENDS = ("numba", "reference")


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


def call(
    kernel: Callable[..., None],
    result: Sequence[jax.ShapeDtypeStruct],
    *arguments: jax.Array,
    constants: Sequence[Any] = (),
) -> tuple[jax.Array, ...]:
    """Run `kernel(outputs, *constants, *arguments)` on NumPy views of the buffers.

    Args:
        kernel: fills the arrays of the tuple `outputs` in place; inputs must not be written to. Under vmap every
            input and output carries the same additional leading axes.
        result: shape and dtype of each output, without mapped axes; all have the same leading batch axes, if any.
        arguments: the inputs, JAX arrays.
        constants: fixed data, without batch axes of their own. The kernel gets each with ONE leading axis: of length 1,
            or where vmap maps one of them, of the number of mapped entries.

    Returns:
        One JAX array for each entry of `result`.
    """

    def on_buffers(_context: Any, outputs: Any, *inputs: Any) -> None:
        views = tuple(np.asarray(out) for out in outputs)
        mapped = views[0].shape[: views[0].ndim - len(result[0].shape)]
        given = [_over(np.asarray(value), mapped) for value in inputs[len(constants) :]]
        fixed = [np.asarray(value) for value in inputs[: len(constants)]]
        kernel(views, *_one_leading_axis(fixed, mapped), *given)

    # "expand_dims": what is not mapped arrives with axes of length 1, not copied for every mapped entry
    return buffer_callback(on_buffers, tuple(result), vmap_method="expand_dims")(*constants, *arguments)


def _over(array: np.ndarray, mapped: tuple[int, ...]) -> np.ndarray:
    """`array` with its leading axes, of length 1 where it is not mapped, stretched to `mapped`."""
    shape = mapped + array.shape[len(mapped) :]
    return array if array.shape == shape else np.ascontiguousarray(np.broadcast_to(array, shape))


def _one_leading_axis(constants: list[np.ndarray], mapped: tuple[int, ...]) -> list[np.ndarray]:
    """Constants with their leading axes joined into one, of length 1 if none of them is mapped."""
    axes = len(mapped)
    if all(math.prod(array.shape[:axes]) == 1 for array in constants):
        return [array.reshape(1, *array.shape[axes:]) for array in constants]
    return [_over(array, mapped).reshape(math.prod(mapped), *array.shape[axes:]) for array in constants]
