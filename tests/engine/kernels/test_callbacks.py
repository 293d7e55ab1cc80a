"""How JAX calls a kernel: buffers in place, leading axes, errors that come out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only

NAME = "some_operation"
POINT = jax.ShapeDtypeStruct((3,), jnp.float64)


def two_results(outputs: tuple[np.ndarray, ...], a: np.ndarray, b: np.ndarray) -> None:
    outputs[0][...] = a + b
    outputs[1][...] = a * b


def test_two_results() -> None:
    a, b = jnp.arange(3.0), jnp.full(3, 2.0)
    for call in (callbacks.call, jax.jit(callbacks.call, static_argnums=(0, 1, 2))):
        total, product = call(NAME, two_results, (POINT, POINT), a, b)
        assert total.tolist() == [2.0, 3.0, 4.0]
        assert product.tolist() == [0.0, 2.0, 4.0]
    assert a.tolist() == [0.0, 1.0, 2.0]


def test_mapped_axes_arrive_as_leading_axes_of_everything() -> None:
    seen: list[Any] = []

    def kernel(outputs: tuple[np.ndarray, ...], a: np.ndarray, b: np.ndarray) -> None:
        seen.append([array.shape for array in (*outputs, a, b)])
        assert all(array.flags.c_contiguous for array in (*outputs, a, b))
        outputs[0][...] = a - b

    function = jax.jit(jax.vmap(lambda a, b: callbacks.call(NAME, kernel, [POINT], a, b)[0], in_axes=(1, None)))
    a = jnp.arange(15.0).reshape(3, 5)
    np.testing.assert_array_equal(function(a, jnp.ones(3)), a.T - 1.0)
    assert seen == [[(5, 3)] * 3]


def scaled(outputs: tuple[np.ndarray, ...], factor: np.ndarray, a: np.ndarray) -> None:
    rows = a.reshape(-1, 3)
    assert rows.shape[0] % len(factor) == 0
    outputs[0].reshape(rows.shape)[...] = rows * np.repeat(factor, rows.shape[0] // len(factor), axis=0)
    scaled.seen = factor.shape  # type: ignore[attr-defined]


def test_constants_are_not_copied_for_mapped_entries() -> None:
    """One leading axis: of length 1, however many axes are mapped, unless a constant is mapped itself."""
    factor, a = jnp.array([1.0, 10.0, 100.0]), jnp.arange(24.0).reshape(4, 2, 3)

    def times(factor: Any, a: Any) -> Any:
        return callbacks.call(NAME, scaled, [POINT], a, constants=[factor])[0]

    np.testing.assert_array_equal(times(factor, a[0, 0]), factor * a[0, 0])
    assert scaled.seen == (1, 3)
    mapped = jax.jit(jax.vmap(jax.vmap(times, (None, 0)), (None, 0)))
    np.testing.assert_array_equal(mapped(factor, a), factor * a)
    assert scaled.seen == (1, 3)


def test_a_constant_that_is_mapped_goes_with_the_entries() -> None:
    factors, a = jnp.arange(12.0).reshape(4, 3), jnp.arange(24.0).reshape(4, 2, 3)
    pair = jax.ShapeDtypeStruct((2, 3), jnp.float64)

    def times(factor: Any, a: Any) -> Any:
        return callbacks.call(NAME, scaled, [pair], a, constants=[factor])[0]

    np.testing.assert_array_equal(jax.jit(jax.vmap(times))(factors, a), factors[:, None] * a)
    assert scaled.seen == (4, 3)


def test_an_error_of_the_kernel_comes_out_with_its_message() -> None:
    def kernel(_outputs: tuple[np.ndarray, ...], _a: np.ndarray) -> None:
        raise ValueError("the kernel's own words")

    with pytest.raises(Exception, match="the kernel's own words"):
        jax.block_until_ready(callbacks.call(NAME, kernel, [POINT], jnp.ones(3)))


def test_require_float64() -> None:
    callbacks.require_float64("op", a=jnp.ones(2), b=np.float64(1.0))
    for bad in (np.ones(2, np.float32), np.arange(2), np.ones(2, complex), np.ones(2, bool)):
        with pytest.raises(TypeError, match=f"op: 'b' must be float64, got {bad.dtype}; call jax.config.update"):
            callbacks.require_float64("op", a=jnp.ones(2), b=bad)


def test_what_a_kernel_gives_is_not_differentiated() -> None:
    """One error that names the operation, in either mode, compiled or not, mapped or not."""
    plain = lambda a: callbacks.call(NAME, two_results, (POINT, POINT), a, a)[1].sum()  # noqa: E731
    assert float(plain(jnp.arange(3.0))) == 5.0
    for derivative in (jax.grad(plain), jax.jacfwd(plain), jax.jit(jax.grad(plain))):
        for function, shape in ((derivative, 3), (jax.vmap(derivative), (2, 3))):
            with pytest.raises(
                TypeError, match=r"some_operation: second derivatives are not available; .* differences"
            ):
                function(jnp.ones(shape))


def test_reverse_only_names_the_operation_and_nothing_else() -> None:
    @jax.custom_vjp
    def square(a: jax.Array) -> jax.Array:
        return a**2

    square.defvjp(lambda a: (a**2, a), lambda a, cotangent: (2.0 * a * cotangent,))
    named = reverse_only("some_operation", square)
    assert float(jax.grad(named)(jnp.asarray(3.0))) == 6.0
    for derivative in (jax.jacfwd(named), jax.jit(jax.jacfwd(named)), lambda a: jax.jvp(named, (a,), (a,))):
        with pytest.raises(TypeError, match=r"some_operation: forward mode \(jvp, jacfwd, hessian\) is not available"):
            derivative(jnp.asarray(3.0))

    def wrong(_a: jax.Array) -> jax.Array:
        raise TypeError("something else")

    with pytest.raises(TypeError, match=r"^something else$"):
        reverse_only("some_operation", wrong)(jnp.asarray(3.0))
