"""Broken power laws against a direct one, for 1, 2 and 3 breaks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.model.source_counts import BrokenPowerLaw, absolute_breaks, broken_power_law
from gammasky.engine.model.values import Arrays, Parameters

S = np.geomspace(0.02, 300.0, 400)

CASES = [
    ([3.0, 1.2], [12.0]),
    ([30.0, -2.0], [0.05]),
    ([4.0, 1.5, -3.0], [25.0, 4.0]),
    ([2.5, 1.9, 1.1, -8.0], [60.0, 10.0, 0.3]),
]


def piecewise(s: float, slopes: list[float], breaks: list[float]) -> float:
    """dN/dS relative to the highest break, piece by piece."""
    value, upper = 1.0, breaks[0]
    if s >= upper:
        return (s / upper) ** -slopes[0]
    for slope, lower in zip(slopes[1:], [*breaks[1:], 0.0], strict=True):
        if s >= lower:
            return value * (s / upper) ** -slope
        value, upper = value * (lower / upper) ** -slope, lower
    raise AssertionError("unreachable")


@pytest.mark.parametrize(("slopes", "breaks"), CASES)
def test_against_a_direct_power_law(slopes: list[float], breaks: list[float]) -> None:
    found = broken_power_law(jnp.asarray(S), jnp.asarray(slopes), jnp.asarray(breaks))
    np.testing.assert_allclose(found, [piecewise(s, slopes, breaks) for s in S], rtol=1e-11)


def test_the_paper_s_form_with_two_breaks() -> None:
    """(S/sb2)^-n3 below sb2, (S/sb2)^-n2 up to sb1, then (sb1/sb2)^-n2 (S/sb1)^-n1, up to a factor."""
    (n1, n2, n3), (sb1, sb2) = CASES[2]
    paper = np.where(sb2 > S, (S / sb2) ** -n3, (S / sb2) ** -n2)
    paper = np.where(sb1 < S, (sb1 / sb2) ** -n2 * (S / sb1) ** -n1, paper)
    found = broken_power_law(jnp.asarray(S), jnp.asarray([n1, n2, n3]), jnp.asarray([sb1, sb2]))
    np.testing.assert_allclose(found, paper * (sb1 / sb2) ** n2, rtol=1e-11)


@pytest.mark.parametrize(("slopes", "breaks"), CASES)
def test_continuous_at_the_breaks(slopes: list[float], breaks: list[float]) -> None:
    edges = np.array(breaks)
    below, above = (
        broken_power_law(jnp.asarray(edges * (1 + side)), jnp.asarray(slopes), jnp.asarray(breaks))
        for side in (-1e-12, 1e-12)
    )
    np.testing.assert_allclose(below, above, rtol=1e-9)


@pytest.mark.parametrize(("slopes", "breaks"), CASES)
def test_each_entry_of_the_gradient(slopes: list[float], breaks: list[float]) -> None:
    def log_dnds(parameters: jax.Array) -> jax.Array:
        return jnp.log(broken_power_law(jnp.asarray(S), parameters[: len(slopes)], parameters[len(slopes) :]))

    point, step = np.array([*slopes, *breaks]), 1e-7
    found = jax.jacrev(log_dnds)(jnp.asarray(point))
    for j in range(point.size):
        shift = step * np.eye(point.size)[j] * max(abs(point[j]), 0.1)
        expected = (log_dnds(jnp.asarray(point + shift)) - log_dnds(jnp.asarray(point - shift))) / (2 * shift[j])
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-5, atol=1e-6)


def test_relative_breaks() -> None:
    given = [jnp.asarray(20.0), jnp.asarray(0.5), jnp.asarray(0.1)]
    assert [float(b) for b in absolute_breaks(given, True)] == [20.0, 10.0, 1.0]
    assert [float(b) for b in absolute_breaks(given, False)] == [20.0, 0.5, 0.1]


def test_several_laws_together() -> None:
    """Alike or not, each has the shape that it has alone."""
    two = BrokenPowerLaw(slopes=[4.0, "n", -0.5], breaks=[20.0, 0.5], relative=True)
    other = BrokenPowerLaw(slopes=["n", 1.2, 0.3], breaks=[15.0, 2.0])
    one = BrokenPowerLaw(slopes=[3.0, "n"], breaks=["b"])
    theta, s = {"n": jnp.asarray(1.7), "b": jnp.asarray(9.0)}, jnp.asarray(S)
    for several in ([two], [two, other], [two, one, other]):
        found = BrokenPowerLaw.shapes(several, theta, s, [{}] * len(several))
        for shape, law in zip(found, several, strict=True):
            np.testing.assert_allclose(shape, law.shape(theta, s, {}), rtol=1e-13)


class CutOff(BrokenPowerLaw):
    """A broken power law that ends exponentially at 50 counts."""

    def shape(self, theta: Parameters, s: jax.Array, tables: Arrays) -> jax.Array:
        return super().shape(theta, s, tables) * jnp.exp(-s / 50.0)


def test_a_law_built_on_it_keeps_its_own_shape() -> None:
    laws = [CutOff(slopes=[4.0, "n"], breaks=[20.0]), CutOff(slopes=[3.0, 1.0], breaks=[9.0])]
    theta, s = {"n": jnp.asarray(1.7)}, jnp.asarray(S)
    found = CutOff.shapes(laws, theta, s, [{}, {}])
    for shape, (n1, n2, b) in zip(found, ((4.0, 1.7, 20.0), (3.0, 1.0, 9.0)), strict=True):
        expected = np.where(b < S, (S / b) ** -n1, (S / b) ** -n2) * np.exp(-S / 50.0)
        np.testing.assert_allclose(shape, expected, rtol=1e-12)
