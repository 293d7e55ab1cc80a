"""The recursion beyond the range of float64: by blocks that share a power of 2 where they can, else one by one."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gammasky.engine.kernels.nptf import scaled


def terms(count: int, kind: str) -> np.ndarray:
    """y_m = m x_m, m = 0 .. count, of a bright pixel, a faint one, and of sources that all give one hundred photons."""
    m = np.arange(1, count + 1)
    sources = {"bright": 0.4 * count * m**-1.8 / (m**-0.8).sum(), "faint": 1e-9 * m**-1.8, "far": 1.0 * (m == 100)}[
        kind
    ]
    single = {"bright": 0.6 * count, "faint": 0.0, "far": 1e-12}[kind]
    return np.concatenate([[0.0], m * sources + single * (m == 1)])


def exact(y: np.ndarray, power: int) -> tuple[np.ndarray, np.ndarray]:
    """The recursion in 30 digits, of y 2^power: mantissas and powers of 2."""
    q = [mpmath.mpf(1)]
    with mpmath.workdps(30):
        numbers = [mpmath.ldexp(float(value), power) for value in y]
        for n in range(1, len(y)):
            q.append(mpmath.fdot(numbers[1 : n + 1], q[n - 1 :: -1] if n > 1 else q[:1]) / n)
        parts = [mpmath.frexp(value) for value in q]
    return np.array([float(part[0]) for part in parts]), np.array([int(part[1]) for part in parts])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 400, 1000])
@pytest.mark.parametrize(
    ("kind", "below"), [("bright", 0), ("faint", 0), ("far", 0), ("bright", -1500), ("far", -1500)]
)
def test_all_numbers_against_30_digits(count: int, kind: str, below: int) -> None:
    """Also of y_m below the range of float64."""
    y = terms(count, kind)
    q, power = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    mantissa, y_power = np.zeros(count + 1), np.full(count + 1, scaled.ZERO_POWER)
    for m in range(1, count + 1):
        scaled.add_product(mantissa, y_power, m, y[m] * 2.0 ** (0.5 * below), 2.0 ** (0.5 * below))
    assert scaled.scaled_recursion(count, mantissa, y_power, q, power)
    expected, powers = exact(y, below)
    ratio = np.ldexp(q / expected, np.clip(power - powers, -1000, 1000))
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-12)


def test_products_add_up_beyond_the_range() -> None:
    y, power = np.zeros(3), np.full(3, scaled.ZERO_POWER)
    with mpmath.workdps(30):
        expected = [mpmath.mpf(0)] * 3
        for m, a, b in ((1, 1e-200, 3e-200), (1, 2e-150, -1e-251), (1, 0.0, 5.0), (2, 3e200, 7e300), (2, 1.0, 1e-300)):
            scaled.add_product(y, power, m, a, b)
            expected[m] += mpmath.mpf(a) * mpmath.mpf(b)
        assert [float(mpmath.ldexp(y[m], int(power[m])) / expected[m]) for m in (1, 2)] == pytest.approx([1.0, 1.0])
    assert (y[0], power[0]) == (0.0, scaled.ZERO_POWER)
    scaled.add_product(y, power, 2, np.nan, 1.0)
    assert np.isnan(y[2])


def by_blocks(y: np.ndarray) -> bool:
    size = len(y)
    return bool(scaled._by_blocks(size - 1, y, np.zeros(size), np.zeros(size, dtype=np.int64)))


def test_which_way_is_taken() -> None:
    """Blocks for bright and faint pixels; not where a block would lose what the count consists of."""
    assert by_blocks(terms(1000, "bright"))
    assert by_blocks(terms(1000, "faint"))
    assert not by_blocks(terms(199, "far"))
    assert not by_blocks(np.array([0.0, 1e70, 1.0]))
    assert not by_blocks(np.zeros(40))
    assert not by_blocks(np.concatenate([[0.0, 1e-40], np.zeros(40)]))  # of 16 neighbours the last is below 1e-600
