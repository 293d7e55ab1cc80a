"""The one place that knows how JAX calls a kernel.

`call` hands a NumPy function the device buffers themselves (`jax.experimental.buffer_callback`): views, no copies. It
works under jit, scan and vmap; batched axes arrive as leading axes of the arrays (`vmap_method="broadcast_all"`), so
that a kernel sees all particles at once.
"""

from __future__ import annotations

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
    kernel: Callable[..., None], result: Sequence[jax.ShapeDtypeStruct], *arguments: jax.Array
) -> tuple[jax.Array, ...]:
    """Run `kernel(outputs, *inputs)` on NumPy views of the buffers of `arguments`.

    Args:
        kernel: fills the arrays of the tuple `outputs` in place; inputs must not be written to. Under vmap every
            input and output carries the same additional leading axes.
        result: shape and dtype of each output, without batch axes.
        arguments: the inputs, JAX arrays.

    Returns:
        One JAX array for each entry of `result`.
    """

    def on_buffers(_context: Any, outputs: Any, *inputs: Any) -> None:
        kernel(tuple(np.asarray(out) for out in outputs), *(np.asarray(value) for value in inputs))

    return buffer_callback(on_buffers, tuple(result), vmap_method="broadcast_all")(*arguments)
