"""Guides as a GPU records them: the same densities as on a CPU, without device loops or triangular solves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_triangular

from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.guides.frame import frame_of
from gammasky.engine.infer.recorded import inverse_lower, solve_lower
from gammasky.engine.kernels import callbacks

pytestmark = pytest.mark.usefixtures("compiled_fast")
SIZE = 5
SMALL = {"flow": {"layers": 2, "width": 6}, "iaf": {"layers": 2, "width": 6}}


def lower(size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.tril(rng.normal(size=(size, size)), -1) + np.diag(rng.uniform(0.5, 2.0, size) * rng.choice([-1, 1], size))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 37])
def test_inverse(size: int) -> None:
    matrix = lower(size, size)
    found = inverse_lower(jnp.asarray(matrix))
    # by substitution, as exact as the matrix allows: a general inverse loses digits where it is ill-conditioned
    expected = solve_triangular(matrix, np.eye(size), lower=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    assert (np.triu(found, 1) == 0).all()


def test_gradient_of_the_inverse() -> None:
    """Entry by entry, by central differences, under vmap."""
    matrix, weight = np.stack([lower(5, 1), lower(5, 2)]), np.random.default_rng(3).normal(size=(5, 5))
    total = lambda a: jnp.sum(weight * inverse_lower(a))  # noqa: E731
    found = jax.vmap(jax.grad(total))(jnp.asarray(matrix))
    for entry in np.argwhere(np.tril(np.ones((5, 5)))):
        step = np.zeros((5, 5))
        step[tuple(entry)] = 1e-6
        expected = [(total(a + step) - total(a - step)) / 2e-6 for a in matrix]
        np.testing.assert_allclose(found[(slice(None), *entry)], expected, rtol=1e-6, atol=1e-7)


def everything(name: str, parameters: Any, x: jax.Array) -> tuple[Callable[..., Any], Any]:
    """A function of a guide's parameters and points, and what it gives: draws, densities, gradients of all of them."""
    guide = GUIDES[name].build(SIZE, **SMALL.get(name, {}))
    frame = frame_of(np.linspace(-1.0, 1.0, SIZE), lower(SIZE, 4) @ lower(SIZE, 4).T)
    keys = jax.random.split(jax.random.key(2), len(x))

    def both(parameters: Any, x: jax.Array) -> Any:
        drawn, log_q = jax.vmap(lambda key: guide.sample(parameters, frame, key))(keys)
        assert guide.at_any_cost is not None
        density = jax.vmap(lambda at: guide.at_any_cost(parameters, frame, at))(x)  # type: ignore[misc]
        return jnp.sum(drawn**2) + jnp.sum(log_q) + jnp.sum(density**2), (drawn, log_q, density)

    function = jax.value_and_grad(both, (0, 1), has_aux=True)
    if parameters is None:
        parameters = guide.init(frame, jax.random.key(0))
        parameters = jax.tree.map(
            lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), parameters
        )
        return function, parameters
    return function, jax.jit(function)(parameters, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(GUIDES))
def test_recorded_guides_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws, densities at points in and beyond the interval of the splines, and gradients; checkpoints fit both."""
    x = 2.0 * jax.random.normal(jax.random.key(5), (9, SIZE)) * jnp.linspace(0.1, 5.0, 9)[:, None]
    _, parameters = everything(name, None, x)
    _, expected = everything(name, parameters, x)
    monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    _, own = everything(name, None, x)
    assert [leaf.shape for leaf in jax.tree.leaves(own)] == [leaf.shape for leaf in jax.tree.leaves(parameters)]
    for leaf, other in zip(jax.tree.leaves(own), jax.tree.leaves(parameters), strict=True):
        np.testing.assert_array_equal(leaf, other)
    _, found = everything(name, own, x)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * float(jnp.abs(other).max()))


@pytest.mark.parametrize("name", ["flow", "iaf", "mvn"])
def test_no_loop_and_no_solve_is_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a draw and its gradient, and of the density where it is cheap."""
    monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    guide = GUIDES[name].build(SIZE, **SMALL.get(name, {}))
    frame = frame_of(np.zeros(SIZE), np.eye(SIZE))
    parameters = guide.init(frame, jax.random.key(0))

    def loss(parameters: Any, key: jax.Array) -> jax.Array:
        x, log_q = guide.sample(parameters, frame, key)
        return jnp.sum(x) + log_q + (0.0 if guide.log_density is None else guide.log_density(parameters, frame, x))

    traced = jax.jit(jax.grad(loss)).trace(parameters, jax.random.key(1))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "dot_general" in text
    assert not [word for word in ("while", "triangular_solve") if f"stablehlo.{word}" in text]


def test_a_cpu_solves_as_before() -> None:
    matrix, right = jnp.asarray(lower(5, 1)), jnp.arange(5.0)
    np.testing.assert_array_equal(
        solve_lower(matrix, right), jax.scipy.linalg.solve_triangular(matrix, right, lower=True)
    )
    assert "triangular_solve" in str(jax.make_jaxpr(solve_lower)(matrix, right))
