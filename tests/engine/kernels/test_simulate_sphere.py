"""HEALPix pixels and displacements against healpy and plain vectors."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from gammasky.engine.kernels.simulate.reference import ring_pixels
from gammasky.engine.kernels.simulate.sphere import displaced, on_face, ring_pixel

NSIDES = [1, 2, 4, 64, 128, 8192]


def kernel_pixels(nside: int, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    directions = zip(np.cos(theta), np.sin(theta), phi, strict=True)
    return np.array([ring_pixel(nside, z, sine, angle) for z, sine, angle in directions])


def random_directions(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.arccos(rng.uniform(-1, 1, n)), rng.uniform(-7.0, 13.0, n)


@pytest.mark.parametrize("nside", NSIDES)
def test_pixels_are_those_of_healpy(nside: int) -> None:
    theta, phi = random_directions(200_000, nside)
    expected = healpy.ang2pix(nside, theta, phi)
    np.testing.assert_array_equal(kernel_pixels(nside, theta, phi), expected)
    sine = np.sin(theta)
    vectors = sine * np.cos(phi), sine * np.sin(phi), np.cos(theta)
    np.testing.assert_array_equal(ring_pixels(nside, *vectors), healpy.vec2pix(nside, *vectors))


@pytest.mark.parametrize("nside", [*NSIDES, 2**26])  # at the last one 1 - z alone would not do
def test_near_the_poles(nside: int) -> None:
    rng = np.random.default_rng(3)
    distance, phi = 10.0 ** rng.uniform(-12, -2, 20_000), rng.uniform(0, 2 * np.pi, 20_000)
    for theta in (distance, np.pi - distance):
        np.testing.assert_array_equal(kernel_pixels(nside, theta, phi), healpy.ang2pix(nside, theta, phi))


@pytest.mark.parametrize("nside", [1, 2, 8, 64, 1024])
def test_on_pixel_boundaries_one_of_the_neighbours(nside: int) -> None:
    rng = np.random.default_rng(4)
    pixels = rng.integers(12 * nside**2, size=200)
    points = np.concatenate([healpy.boundaries(nside, int(pixel), step=3).T for pixel in pixels])
    theta, phi = healpy.vec2ang(points)
    got = kernel_pixels(nside, theta, phi)
    near = [healpy.vec2pix(nside, *(points + 1e-9 / nside * rng.standard_normal(points.shape)).T) for _ in range(60)]
    assert np.all(np.any(np.array(near) == got, axis=0))


@pytest.mark.parametrize("nside", [1, 4, 64])
@pytest.mark.parametrize("z", [-1.0, -2 / 3, 0.0, 2 / 3, 1.0, np.nextafter(2 / 3, 1), np.nextafter(-2 / 3, -1)])
@pytest.mark.parametrize("phi", [0.0, np.pi / 2, np.pi, 2 * np.pi, -1e-300, -np.pi, 1e-17, np.nextafter(2 * np.pi, 0)])
def test_edges_stay_on_the_sphere(nside: int, z: float, phi: float) -> None:
    sine = np.sqrt((1 - z) * (1 + z))
    jitter = 1e-9 * np.random.default_rng(5).standard_normal((200, 2))
    theta = np.clip(np.arctan2(sine, z) + jitter[:, 0], 0, np.pi)
    assert ring_pixel(nside, z, sine, phi) in healpy.ang2pix(nside, theta, phi + jitter[:, 1])


@pytest.mark.parametrize("nside", NSIDES)
def test_face_coordinates_lead_into_the_pixel(nside: int) -> None:
    rng = np.random.default_rng(6)
    pixels = rng.integers(12 * nside**2, size=5000)
    x, y, face = healpy.pix2xyf(nside, pixels)
    inside = rng.uniform(1e-4, 1 - 1e-4, (2, len(pixels)))
    positions = np.array(
        [on_face(f, a, b) for f, a, b in zip(face, (x + inside[0]) / nside, (y + inside[1]) / nside, strict=True)]
    )
    np.testing.assert_array_equal(
        healpy.ang2pix(nside, np.arctan2(positions[:, 1], positions[:, 0]), positions[:, 2]), pixels
    )
    np.testing.assert_allclose(positions[:, 0] ** 2 + positions[:, 1] ** 2, 1.0, rtol=1e-15, atol=4e-15)


@pytest.mark.parametrize("nside", [1, 2, 64])
def test_corners_and_centres_are_those_of_healpy(nside: int) -> None:
    pixels = np.random.default_rng(7).integers(12 * nside**2, size=300)
    x, y, face = healpy.pix2xyf(nside, pixels)
    for corner, (u, v) in enumerate([(1, 1), (0, 1), (0, 0), (1, 0)]):  # north, west, south, east
        z, sine, phi = np.array(
            [on_face(f, (a + u) / nside, (b + v) / nside) for f, a, b in zip(face, x, y, strict=True)]
        ).T
        expected = np.array([healpy.boundaries(nside, int(p), step=1)[:, corner] for p in pixels]).T
        np.testing.assert_allclose([sine * np.cos(phi), sine * np.sin(phi), z], expected, atol=2e-14)


def test_displaced_by_the_radius_at_the_position_angle() -> None:
    rng = np.random.default_rng(8)
    for theta in (1e-9, 1e-4, 0.5, np.pi / 2, 2.5, np.pi - 1e-6):
        for radius in (1e-6, 1e-2, 1.0, 3.1):
            phi, angle = rng.uniform(0, 2 * np.pi, 2)
            z, sine, turned = displaced(np.cos(theta), np.sin(theta), phi, radius, angle)
            centre = np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
            north = np.array([-np.cos(theta) * np.cos(phi), -np.cos(theta) * np.sin(phi), np.sin(theta)])
            east = np.cross(north, centre)
            assert east @ [-np.sin(phi), np.cos(phi), 0] == pytest.approx(1.0)
            expected = np.cos(radius) * centre + np.sin(radius) * (np.cos(angle) * north + np.sin(angle) * east)
            got = [sine * np.cos(turned), sine * np.sin(turned), z]
            np.testing.assert_allclose(got, expected, atol=4e-16 * 8)
