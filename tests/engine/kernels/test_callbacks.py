"""How JAX calls a kernel: buffers in place, leading axes, errors that come out."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.buffer_callback import buffer_callback

from gammasky.engine.kernels import callbacks, gpu
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


def test_where_a_buffer_is() -> None:
    """XLA's own on the host; one on a device by its number."""
    places: list[int | None] = []
    kernel = lambda _context, out, value: (places.append(gpu.place(value)), np.copyto(np.asarray(out), 1.0))[1]  # noqa: E731
    jax.block_until_ready(buffer_callback(kernel, POINT)(jnp.zeros(3)))
    assert places == [None]
    assert gpu.place(SimpleNamespace(__dlpack_device__=lambda: (2, 3))) == 3


def test_a_view_asks_cuda_nothing() -> None:
    """Not the device of an address, which CuPy asks for if it is not told: not while a graph is recorded."""
    told: list[Any] = []
    cuda = SimpleNamespace(
        UnownedMemory=lambda *given: told.append(given) or "memory", MemoryPointer=lambda *given: ("at", *given)
    )
    module = SimpleNamespace(cuda=cuda, ndarray=lambda *given: given)
    buffer = SimpleNamespace(__cuda_array_interface__={"shape": (2, 3), "typestr": "<f8", "data": (4096, False)})
    assert gpu.view(module, buffer, 1) == ((2, 3), np.dtype(np.float64), ("at", "memory", 0))
    assert told == [(4096, 48, buffer, 1)]


def test_arrays_of_the_other_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is chosen by where JAX runs by default; arrays that were put elsewhere are refused in one line."""

    def nothing(*_: Any) -> None:
        raise AssertionError

    with pytest.raises(Exception, match="some_operation: its arrays are on a CPU, but its kernel was chosen for a GPU"):
        jax.block_until_ready(callbacks.launch(NAME, nothing, [POINT], jnp.ones(3)))
    monkeypatch.setattr(gpu, "place", lambda _buffer: 1)
    with pytest.raises(
        Exception, match=r"its arrays are on GPU 1, but JAX's default device is a CPU.*jax.default_device"
    ):
        jax.block_until_ready(callbacks.call(NAME, nothing, [POINT], jnp.ones(3)))


def test_a_launch_gets_what_vmap_does_not_map_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under any order of vmaps: shared inputs as one entry, of which each entry of the result is reached."""
    seen: list[Any] = []
    monkeypatch.setattr(gpu, "place", lambda _buffer: 0)
    monkeypatch.setattr(gpu, "view", lambda _module, buffer, _device: np.asarray(buffer))
    monkeypatch.setattr(gpu, "on_stream", lambda *_: nullcontext())
    monkeypatch.setattr(callbacks, "_stream", lambda _context: 0)

    def kernel(outputs: Any, scratch: Any, constant: Any, a: Any, b: Any) -> None:
        out = outputs[0].reshape(-1, 3)
        rows = [part.reshape(-1, 3) for part in (constant, a, b)]
        seen.append([len(part) for part in (out, *rows)] + [scratch[0].shape])
        n = len(out)
        for i in range(n):
            out[i] = sum(part[i * len(part) // n] for part in rows)

    room = lambda entries: [jax.ShapeDtypeStruct((min(entries, 5), 2), jnp.float64)]  # noqa: E731
    launch = lambda c, a, b: callbacks.launch(  # noqa: E731
        NAME, kernel, [POINT], a, b, constants=[c], scratch=room, shared=0
    )[0]
    c, a, b = (jnp.asarray(np.random.default_rng(n).normal(size=(2, 4, 3))) for n in range(3))
    for axes, given, entries in (
        (((None, 0, None),), (c[0, 0], a[0], b[0, 0]), [4, 1, 4, 1]),
        (((None, None, 0), (None, 0, 0)), (c[0, 0], a[:, 0], b), [8, 1, 8, 8]),
        (((None, 0, None), (0, None, 0)), (c[:, 0], a[0], b[:, 0]), [8, 8, 8, 8]),
        (((None, 0, 0), (None, 0, None)), (c[0, 0], a, b[0]), [8, 1, 8, 8]),
    ):
        function, plain = launch, lambda *parts: sum(parts)
        for axis in axes:
            function, plain = jax.vmap(function, axis), jax.vmap(plain, axis)
        np.testing.assert_allclose(jax.jit(function)(*given), plain(*given), rtol=1e-15)
        assert seen[-1] == [*entries, (min(entries[0], 5), 2)]
