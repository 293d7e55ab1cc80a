"""Expected sources X = R dN/dS: against NumPy, sizes that fill no vector, mapped axes, threads, refused derivatives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels.response.op import expected_sources

RNG = np.random.default_rng(50)


def problem(rows: int, nodes: int, *lead: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix (rows, nodes), dN/dS (*lead, nodes) and cotangents of X (*lead, rows)."""
    return RNG.normal(size=(rows, nodes)), RNG.normal(size=(*lead, nodes)), RNG.normal(size=(*lead, rows))


def both(matrix: Any, dnds: Any, d_x: Any) -> tuple[jax.Array, jax.Array]:
    x, pull = jax.vjp(lambda d: expected_sources(matrix, d, backend="numba"), dnds)
    return x, pull(d_x)[0]


@pytest.mark.parametrize(
    ("rows", "nodes", "lead"),
    [(1, 1, (1,)), (3, 2, (2,)), (5, 131, (2,)), (263, 7, (3, 3)), (130, 300, (2, 2, 5)), (6, 9, (0, 2))],
)
def test_against_numpy(rows: int, nodes: int, lead: tuple[int, ...]) -> None:
    matrix, dnds, d_x = problem(rows, nodes, *lead)
    x, d_dnds = both(matrix, jnp.asarray(dnds), jnp.asarray(d_x))
    np.testing.assert_allclose(x, dnds @ matrix.T, rtol=1e-12, atol=1e-12 * nodes)
    np.testing.assert_allclose(d_dnds, d_x @ matrix, rtol=1e-12, atol=1e-12 * rows)


def test_mapped_axes_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, dnds, d_x = map(jnp.asarray, problem(300, 260, 5, 2))
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    alone = [both(matrix, *point) for point in zip(dnds, d_x, strict=True)]
    mapped = jax.jit(jax.vmap(both, (None, 0, 1)))
    for threads in ("1", "3"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
        for found, part in zip(mapped(matrix, dnds, jnp.moveaxis(d_x, 0, 1)), range(2), strict=True):
            np.testing.assert_array_equal(found, np.stack([one[part] for one in alone]))


def test_a_matrix_that_is_mapped_too() -> None:
    matrices, dnds, d_x = RNG.normal(size=(3, 7, 11)), RNG.normal(size=(3, 4, 2, 11)), RNG.normal(size=(3, 4, 2, 7))
    found = jax.vmap(jax.vmap(both, (None, 0, 0)))(*map(jnp.asarray, (matrices, dnds, d_x)))
    np.testing.assert_allclose(found[0], np.einsum("erm,ebim->ebir", matrices, dnds), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[1], np.einsum("erm,ebir->ebim", matrices, d_x), rtol=1e-12, atol=1e-12)


def test_nan_stays_in_its_column() -> None:
    matrix, dnds, d_x = problem(9, 20, 3)
    dnds[1, 4], d_x[2, 0] = np.nan, np.nan
    x, d_dnds = map(np.asarray, both(matrix, jnp.asarray(dnds), jnp.asarray(d_x)))
    assert np.isnan(x).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(d_dnds).all(axis=1).tolist() == [False, False, True]
    assert not np.isnan(x[[0, 2]]).any()


def test_what_is_refused() -> None:
    matrix, dnds, _ = map(jnp.asarray, problem(4, 6, 2))
    total = lambda d: (expected_sources(matrix, d, backend="numba") ** 2).sum()  # noqa: E731
    with pytest.raises(TypeError, match=r"expected_sources: forward mode .* is not available"):
        jax.jvp(total, (dnds,), (dnds,))
    with pytest.raises(TypeError, match=r"expected_sources: second derivatives .* central differences"):
        jax.grad(lambda d: jax.grad(total)(d).sum())(dnds)
    with pytest.raises(TypeError, match="expected_sources: 'dnds' must be float64, got float32"):
        expected_sources(matrix, dnds.astype(jnp.float32))
