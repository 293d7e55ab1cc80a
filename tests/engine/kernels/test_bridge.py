"""How JAX calls a kernel: buffers in place, leading axes, errors that come out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import bridge
from gammasky.engine.kernels.derivatives import first_order_only

POINT = jax.ShapeDtypeStruct((3,), jnp.float64)


def two_results(outputs: tuple[np.ndarray, ...], a: np.ndarray, b: np.ndarray) -> None:
    outputs[0][...] = a + b
    outputs[1][...] = a * b


def test_two_results() -> None:
    a, b = jnp.arange(3.0), jnp.full(3, 2.0)
    for call in (bridge.call, jax.jit(bridge.call, static_argnums=(0, 1))):
        total, product = call(two_results, (POINT, POINT), a, b)
        assert total.tolist() == [2.0, 3.0, 4.0]
        assert product.tolist() == [0.0, 2.0, 4.0]
    assert a.tolist() == [0.0, 1.0, 2.0]


def test_mapped_axes_arrive_as_leading_axes_of_everything() -> None:
    seen: list[Any] = []

    def kernel(outputs: tuple[np.ndarray, ...], a: np.ndarray, b: np.ndarray) -> None:
        seen.append([array.shape for array in (*outputs, a, b)])
        assert all(array.flags.c_contiguous for array in (*outputs, a, b))
        outputs[0][...] = a - b

    function = jax.jit(jax.vmap(lambda a, b: bridge.call(kernel, [POINT], a, b)[0], in_axes=(1, None)))
    a = jnp.arange(15.0).reshape(3, 5)
    np.testing.assert_array_equal(function(a, jnp.ones(3)), a.T - 1.0)
    assert seen == [[(5, 3)] * 3]


def test_an_error_of_the_kernel_comes_out_with_its_message() -> None:
    def kernel(_outputs: tuple[np.ndarray, ...], _a: np.ndarray) -> None:
        raise ValueError("the kernel's own words")

    with pytest.raises(Exception, match="the kernel's own words"):
        jax.block_until_ready(bridge.call(kernel, [POINT], jnp.ones(3)))


def test_require_float64() -> None:
    bridge.require_float64("op", a=jnp.ones(2), b=np.float64(1.0))
    for bad in (np.ones(2, np.float32), np.arange(2), np.ones(2, complex), np.ones(2, bool)):
        with pytest.raises(TypeError, match=f"op: 'b' must be float64, got {bad.dtype}; call jax.config.update"):
            bridge.require_float64("op", a=jnp.ones(2), b=bad)


def test_first_order_only_names_the_operation() -> None:
    gradient = first_order_only("some_operation", lambda plan, a: plan * a)
    assert float(gradient(3.0, jnp.asarray(2.0))) == 6.0
    for derivative in (jax.grad, jax.jacfwd):
        with pytest.raises(TypeError, match="some_operation: second derivatives are not available"):
            derivative(lambda a: gradient(3.0, a))(jnp.asarray(2.0))
