"""The functions of fields against kernels on the sphere and harmonics from Legendre functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import lpmv

from gammasky.engine.model.templates.field_bases import (
    MARGIN,
    MISSING,
    Box,
    orders,
    reach,
    real_harmonics,
    root_density,
    root_power,
)

KERNELS = ("matern32", "matern52", "squared_exponential")


def kernel(name: str, scaled: np.ndarray) -> np.ndarray:
    """k(r) of unit variance at r / l, as textbooks have it."""
    if name == "squared_exponential":
        return np.exp(-0.5 * scaled**2)
    if name == "matern32":
        return (1 + math.sqrt(3) * scaled) * np.exp(-math.sqrt(3) * scaled)
    return (1 + math.sqrt(5) * scaled + 5 * scaled**2 / 3) * np.exp(-math.sqrt(5) * scaled)


def angles(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Angles between all positions (N, N) [deg], by haversines."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    half = np.sin(0.5 * (lat[:, None] - lat)) ** 2
    half = half + np.cos(lat)[:, None] * np.cos(lat) * np.sin(0.5 * (lon[:, None] - lon)) ** 2
    return np.rad2deg(2 * np.arcsin(np.sqrt(np.minimum(half, 1.0))))


def disc(radius_deg: float, lon_0: float = 0.0, lat_0: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a coarse grid in a disc."""
    x, y = np.meshgrid(np.linspace(-radius_deg, radius_deg, 13), np.linspace(-radius_deg, radius_deg, 13))
    inside = np.hypot(x, y) <= radius_deg
    lat = lat_0 + y[inside]
    return lon_0 + x[inside] / np.cos(np.deg2rad(lat)), lat


def covariance(box: Box, name: str, modes: int, length: float, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    density = 2 * np.pi * length**2 * np.asarray(root_density(name, box.frequencies(modes) * length)) ** 2
    basis = box.sines(modes, lon, lat)
    return (basis * density[:, None]).T @ basis


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("middle", [(0.0, 0.0), (120.0, 50.0), (179.0, -30.0)])
def test_many_sines_in_a_wide_box_have_the_covariance_of_the_kernel(name: str, middle: tuple[float, float]) -> None:
    lon, lat = disc(16.0, *middle)
    box = Box.around(lon, lat, margin_deg=20.0)
    np.testing.assert_allclose(box.half, 16.0, atol=0.5)
    found = covariance(box, name, 50, 7.0, lon, lat)
    expected = kernel(name, angles(lon, lat) / 7.0)
    np.testing.assert_allclose(found, expected, atol=0.02)  # the plane is the sky to 1 per cent of a distance
    assert np.abs(covariance(box, name, 50, 6.0, lon, lat) - expected).max() > 0.05  # another length is told apart


@pytest.mark.parametrize("name", KERNELS)
def test_the_limits_of_a_basis_miss_a_tenth_of_the_variance(name: str) -> None:
    lon, lat = disc(20.0)
    assert kernel(name, np.array(2 * MARGIN[name])) == pytest.approx(MISSING, abs=1e-3)
    box = Box.around(lon, lat, margin_deg=30.0)
    shortest = box.shortest_deg(name, 20)
    middle = np.array([3.0]), np.array([-2.0])
    assert 1 - MISSING <= covariance(box, name, 20, shortest, *middle)[0, 0] <= 1 - 0.3 * MISSING
    assert covariance(box, name, 20, 0.6 * shortest, *middle)[0, 0] < 1 - MISSING
    assert box.modes_for(name, shortest * (1 + 1e-9)) == 20
    assert box.modes_for(name, shortest * (1 - 1e-9)) == 21
    # at the sides of a region around which the box lies as close as it may
    near = Box.around(lon, lat, margin_deg=MARGIN[name] * 12.0)
    east = np.array([20.0]), np.array([0.0])
    assert covariance(near, name, 60, 12.0, *east)[0, 0] == pytest.approx(1 - MISSING, abs=0.02)


def test_reach_is_where_the_spectral_density_has_a_tenth_left() -> None:
    for name in KERNELS:
        w = np.linspace(0.0, 400.0, 2_000_001)
        density = w * np.asarray(root_density(name, w)) ** 2
        total = np.cumsum(density)
        assert total[np.searchsorted(w, reach(name))] / total[-1] == pytest.approx(1 - MISSING, abs=5e-4)


def test_sines_are_zero_beyond_the_box_and_modes_are_in_order() -> None:
    lon, lat = disc(10.0)
    box = Box.around(lon, lat, margin_deg=5.0)
    outside = np.array([40.0, -40.0]), np.array([0.0, 0.0])
    assert np.abs(box.sines(3, *outside)).max() < 1e-12
    frequencies = box.frequencies(3).reshape(3, 3)
    np.testing.assert_allclose(frequencies[2, 0], 0.5 * np.pi * math.hypot(3 / box.side[0], 1 / box.side[1]))
    first = box.sines(3, np.array([0.0]), np.array([0.0]))[:, 0].reshape(3, 3)
    np.testing.assert_allclose(first[0, 0], 1 / math.sqrt(box.side[0] * box.side[1]), rtol=1e-3)
    np.testing.assert_allclose(first[1], 0.0, atol=1e-3)  # the second along x has its node in the middle


def test_no_mode_has_waves_shorter_than_the_limit() -> None:
    """The mode of the last sine along both sides has the shortest waves, in a box that is no square too."""
    lon, lat = disc(10.0)
    for box in (Box.around(lon, lat, 5.0), Box.around(np.array([-20.0, 20.0]), np.array([-5.0, 5.0]), 2.0)):
        most = box.most_modes(1.7)
        assert most is not None
        shortest = [2 * np.pi / box.frequencies(modes).max() for modes in (most, most + 1)]
        assert shortest[1] < 1.7 <= shortest[0]
        assert box.most_modes(0.0) is None


def test_real_harmonics() -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(-180, 180, 40), rng.uniform(-90, 90, 40)
    found = real_harmonics(5, lon, lat)
    for row, (degree, order) in zip(found, orders(5), strict=True):
        m = abs(order)
        norm = math.sqrt((2 * degree + 1) / (4 * np.pi) * math.factorial(degree - m) / math.factorial(degree + m))
        legendre = (-1) ** m * lpmv(m, degree, np.sin(np.deg2rad(lat)))
        wave = 1.0 if order == 0 else math.sqrt(2) * (np.cos if order > 0 else np.sin)(m * np.deg2rad(lon))
        np.testing.assert_allclose(row, norm * legendre * wave, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 2.0, 3.5])
def test_a_power_spectrum_gives_unit_variance_everywhere(slope: float) -> None:
    rng = np.random.default_rng(4)
    basis = real_harmonics(6, rng.uniform(-180, 180, 20), rng.uniform(-90, 90, 20))
    degrees = np.array([float(degree) for degree, _ in orders(6)])
    roots = np.asarray(root_power(degrees, slope, 6))
    np.testing.assert_allclose(((roots[:, None] * basis) ** 2).sum(axis=0), 1.0, rtol=1e-10)
    np.testing.assert_allclose((roots[-1] / roots[0]) ** 2, 6.0**-slope, rtol=1e-10)
