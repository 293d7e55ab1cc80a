"""Lines of sight through the Galaxy: quadrature nodes and shared pixels, computed once with NumPy.

Both profiles are integrated by Gauss-Legendre in u, where distance = tangent + width sinh(u). Around the point where
the line of sight passes closest to the Galactic Centre this turns sqrt(x^2 + width^2) into width cosh(u), which is
smooth over the whole line; the panels meet at that point. Node counts follow the length of a panel in u, because
the integrands are analytic in a strip of half-width pi/2 about the real axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammasky.engine.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LANES = 8  # lines of sight that lie side by side
ALIKE = 4 * LANES  # lines of sight of the disk that have as many nodes as the one among them that asks for most
MIN_PSI_DEG = 1e-3  # the quadrature is tested down to here; at psi = 0 the squared profile diverges for gamma >= 1/2
NODE_COUNTS = (8, 16, 24, 32, 40, 48, 64, 80, 96)  # Chebyshev nodes in log psi, the first that is accurate enough
INTERPOLATION_ERROR = 3e-10  # of log J and of d log J / d gamma
CHECKED_GAMMAS = (0.0, 0.5, 1.0, 1.5, 2.0)
MIN_WIDTH = 1e-5  # |sin l| below this is resolved as if it were this: the cusp at R = 0 then weighs less than 1e-7
HEIGHT_RANGE_KPC = (0.1, 2.5)  # scale heights for which the disk nodes are laid out
MAX_DECAY = 48.0  # lines of sight end where the disk has fallen by exp(-48) even at the largest scale height


class PixelGroups(NamedTuple):
    """Pixels that share one line-of-sight integral by symmetry.

    Args:
        inverse (N,): the integral that belongs to each pixel.
        order (N,), starts (U + 1,): pixels of integral i are order[starts[i]:starts[i + 1]].
    """

    inverse: Integers
    order: Integers
    starts: Integers

    @classmethod
    def of(cls, inverse: Integers, n_groups: int) -> PixelGroups:
        """Sort the pixels by the integral that they share."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=n_groups))])
        return cls(inverse, np.argsort(inverse, kind="stable"), starts.astype(np.int64))


class DiskNodes(NamedTuple):
    """Quadrature nodes of U lines of sight in blocks of LANES side by side, M rows of nodes in all.

    Args:
        block_starts (blocks + 1,): the rows of block i are block_starts[i]:block_starts[i + 1].
        excess (M, LANES): R / R0 - 1.
        log_radius (M, LANES): log(R / R0).
        height (M, LANES) [kpc]: |z|.
        weight (M, LANES) [kpc]: ds. Lanes beyond U in the last block repeat its last line of sight.
    """

    block_starts: Integers
    excess: Floats
    log_radius: Floats
    height: Floats
    weight: Floats


@dataclass(frozen=True, eq=False)
class NFWSky:
    """Fixed geometry of `nfw_squared` for N pixels with U different angles psi to the Galactic Centre.

    Args:
        psi_rad (U,) [rad]: the different angles.
        groups: which pixels share them.
        log_shape (Q, K): log(x / (1 + x)) with x = r / r_s, at Q quadrature nodes for each of K Chebyshev angles.
        weight (Q, K) [kpc]: ds (1 + x)^-6, so that J(psi_k) = sum_q weight exp(-2 gamma log_shape).
        cardinal (K, U): log J(psi_u) = sum_k log J(psi_k) cardinal[k, u].
        sun_kpc, scale_radius_kpc, max_distance_kpc [kpc]: distance to the centre, r_s, end of the lines of sight.
    """

    psi_rad: Floats
    groups: PixelGroups
    log_shape: Floats
    weight: Floats
    cardinal: Floats
    sun_kpc: float
    scale_radius_kpc: float
    max_distance_kpc: float

    @property
    def n_pixels(self) -> int:
        return self.groups.inverse.size

    @cached_property
    def cardinal_rows(self) -> Floats:
        """`cardinal` with as many columns as fill whole rows of LANES."""
        return np.pad(self.cardinal, ((0, 0), (0, -self.cardinal.shape[1] % LANES)))

    @classmethod
    def build(
        cls,
        lon_deg: ArrayLike,
        lat_deg: ArrayLike,
        *,
        sun_kpc: float = 8.224,
        scale_radius_kpc: float = 20.0,
        max_distance_kpc: float = 100.0,
    ) -> NFWSky:
        """Lay out the nodes for pixels at Galactic longitude and latitude.

        Args:
            lon_deg, lat_deg (N,) [deg]: pixel centres.
            sun_kpc [kpc]: distance of the Sun from the Galactic Centre.
            scale_radius_kpc [kpc]: r_s of the profile.
            max_distance_kpc [kpc]: where the line of sight ends.

        Raises:
            InputError: a direction or length that cannot be used, or a pixel within 0.001 deg of the centre.
        """
        lon, lat = _directions("NFWSky", lon_deg, lat_deg)
        _require_lengths(
            "NFWSky", sun_kpc=sun_kpc, scale_radius_kpc=scale_radius_kpc, max_distance_kpc=max_distance_kpc
        )
        psi = np.arctan2(np.hypot(np.cos(lat) * np.sin(lon), np.sin(lat)), np.cos(lat) * np.cos(lon))
        _require_off_centre(psi)
        _, first, inverse = np.unique(psi.round(12), return_index=True, return_inverse=True)
        psi_rad, lengths = psi[first], (sun_kpc, scale_radius_kpc, max_distance_kpc)
        angles = _chebyshev_angles(psi_rad, lengths)
        log_shape, weight = _nfw_nodes(angles, *lengths)
        cardinal = _cardinal(angles, psi_rad)
        return cls(psi_rad, PixelGroups.of(inverse, psi_rad.size), log_shape, weight, cardinal, *lengths)


@dataclass(frozen=True, eq=False)
class DiskSky:
    """Fixed geometry of `lorimer_disk` for N pixels with U different (|l|, |b|).

    Args:
        lon_rad, lat_rad (U,) [rad]: |l| in [0, pi] and |b|, lines of sight with like node counts side by side.
        groups: which pixels share them.
        nodes: the quadrature along them.
        sun_kpc, max_distance_kpc [kpc]: R0 and the in-plane distance s cos b at which the lines of sight end.
    """

    lon_rad: Floats
    lat_rad: Floats
    groups: PixelGroups
    nodes: DiskNodes
    sun_kpc: float
    max_distance_kpc: float

    @property
    def n_pixels(self) -> int:
        return self.groups.inverse.size

    @classmethod
    def build(
        cls, lon_deg: ArrayLike, lat_deg: ArrayLike, *, sun_kpc: float = 8.224, max_distance_kpc: float = 100.0
    ) -> DiskSky:
        """Lay out the nodes for pixels at Galactic longitude and latitude.

        Args:
            lon_deg, lat_deg (N,) [deg]: pixel centres.
            sun_kpc [kpc]: R0, distance of the Sun from the Galactic Centre.
            max_distance_kpc [kpc]: in-plane distance s cos b at which the line of sight ends.

        Raises:
            InputError: a direction or length that cannot be used.
        """
        lon, lat = _directions("DiskSky", lon_deg, lat_deg)
        _require_lengths("DiskSky", sun_kpc=sun_kpc, max_distance_kpc=max_distance_kpc)
        folded = np.stack([np.abs(np.remainder(lon + np.pi, 2 * np.pi) - np.pi), np.abs(lat)], axis=1)
        _, first, inverse = np.unique(folded.round(12), axis=0, return_index=True, return_inverse=True)
        lines = _DiskLines.through(folded[first, 0], folded[first, 1], sun_kpc, max_distance_kpc)
        order = np.lexsort((lines.far_count, lines.near_count))
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        lon_rad, lat_rad = folded[first[order]].T
        groups = PixelGroups.of(place[inverse.reshape(-1)], order.size)
        return cls(lon_rad, lat_rad, groups, lines.blocks(order), sun_kpc, max_distance_kpc)


@dataclass(frozen=True, eq=False)
class Normalisation:
    """How a template is wanted: over its mean, and in the first pixels only.

    Args:
        size: of how many pixels values are wanted.
        weight (N,): of each pixel in the mean.
        line_weight (U,): of each line of sight in it, the sum over its pixels.
    """

    size: int
    weight: Floats
    line_weight: Floats

    @classmethod
    def of(cls, sky: NFWSky | DiskSky, size: int, weight: Floats) -> Normalisation:
        """That of the lines of sight of `sky`."""
        line_weight = np.zeros(sky.groups.starts.size - 1)
        np.add.at(line_weight, sky.groups.inverse, weight)
        return cls(size, weight, line_weight)


@dataclass(frozen=True, eq=False)
class _DiskLines:
    """Lines of sight in units of R0: q = s cos b = centre + width sinh(u), with u from start over split to end."""

    lon_rad: Floats
    lat_rad: Floats
    sun_kpc: float
    centre: Floats
    width: Floats
    start: Floats
    split: Floats
    end: Floats
    near_count: Integers
    far_count: Integers

    @classmethod
    def through(cls, lon: Floats, lat: Floats, sun_kpc: float, max_distance_kpc: float) -> _DiskLines:
        """Choose substitution, panels and node counts of every line of sight."""
        slowest, fastest = (sun_kpc * np.tan(lat) / height for height in HEIGHT_RANGE_KPC[::-1])
        far = np.minimum(max_distance_kpc / sun_kpc, MAX_DECAY / np.maximum(slowest, 1e-300))
        # lines that end well before their tangent point, or look away from it, are graded from the Sun instead
        inward = far > 0.5 * np.cos(lon)
        inward &= np.cos(lon) > 0
        centre = np.where(inward, np.cos(lon), 0.0)
        width = np.where(inward, np.maximum(np.abs(np.sin(lon)), MIN_WIDTH), 1.0)
        start, end = np.arcsinh(-centre / width), np.arcsinh((far - centre) / width)
        split = np.clip(0.0, start, end)
        # the vertical fall exp(-fastest q) must be resolved, too: dq/du is 1 at the Sun and `width` at the split
        near_count = _node_count(split - start, fastest)
        far_count = _node_count(end - split, fastest * width)
        return cls(lon, lat, sun_kpc, centre, width, start, split, end, near_count, far_count)

    def blocks(self, order: Integers) -> DiskNodes:
        """The nodes of the lines taken in the given order."""
        filled = np.pad(order, (0, -order.size % ALIKE), mode="edge").reshape(-1, ALIKE)
        parts = [part for lines in filled for part in self._blocks(lines)]
        starts = np.cumsum([0] + [part[0].shape[0] for part in parts]).astype(np.int64)
        return DiskNodes(starts, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _blocks(self, lines: Integers) -> list[tuple[Floats, ...]]:
        """Excess, log radius, height and weight of the blocks of ALIKE lines, each (nodes, LANES)."""
        near = _panel(self.start[lines], self.split[lines], int(self.near_count[lines].max()))
        far = _panel(self.split[lines], self.end[lines], int(self.far_count[lines].max()))
        u, du = (np.concatenate(pair) for pair in zip(near, far, strict=True))
        lon, lat, width = self.lon_rad[lines], self.lat_rad[lines], self.width[lines]
        q = self.centre[lines] + width * np.sinh(u)
        radius = np.hypot(q - np.cos(lon), np.sin(lon))
        height = self.sun_kpc * q * np.tan(lat)
        weight = du * width * np.cosh(u) * (self.sun_kpc / np.cos(lat))
        columns = (radius - 1.0, np.log(radius), height, weight)
        return [tuple(parts) for parts in zip(*(np.split(c, ALIKE // LANES, axis=1) for c in columns), strict=True)]


def _directions(sky: str, lon_deg: ArrayLike, lat_deg: ArrayLike) -> tuple[Floats, Floats]:
    """Longitude and latitude in radians, checked."""
    lon, lat = np.asarray(lon_deg, dtype=np.float64), np.asarray(lat_deg, dtype=np.float64)
    if lon.ndim != 1 or lon.shape != lat.shape or lon.size == 0:
        raise InputError(
            f"{sky}: lon_deg and lat_deg must be lists of equal length with at least one pixel, "
            f"got shapes {lon.shape} and {lat.shape}"
        )
    bad = ~(np.isfinite(lon) & (np.abs(lat) <= 90.0))
    if bad.any():
        pixel = int(np.argmax(bad))
        raise InputError(
            f"{sky}: pixel {pixel} must have a finite longitude and a latitude within [-90, 90] deg, "
            f"got lon_deg={lon[pixel]}, lat_deg={lat[pixel]}; give Galactic coordinates in degrees"
        )
    return np.radians(lon), np.radians(lat)


def _require_lengths(sky: str, **lengths: float) -> None:
    """Refuse a length that is not positive and finite."""
    for name, value in lengths.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{sky}: {name} must be positive and finite, got {value}; give a length in kpc")


def _require_off_centre(psi: Floats) -> None:
    """Refuse a pixel so close to the Galactic Centre that the integral is not resolved."""
    pixel = int(np.argmin(psi))
    if np.degrees(psi[pixel]) < MIN_PSI_DEG:
        raise InputError(
            f"NFWSky: pixel {pixel} must be at least {MIN_PSI_DEG} deg from the Galactic Centre, "
            f"got {np.degrees(psi[pixel]):.3g} deg; leave it out (J diverges at the centre for gamma >= 0.5)"
        )


@lru_cache(maxsize=128)
def _gauss_legendre(count: int) -> tuple[Floats, Floats]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def _panel(low: Floats, high: Floats, count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights between `low` and `high`, each (count, lines)."""
    nodes, weights = _gauss_legendre(count)
    return low + nodes[:, None] * (high - low), weights[:, None] * (high - low)


def _node_count(length: Floats, decay: Floats | float) -> Integers:
    """Nodes for a panel of this length in u whose integrand may fall like exp(-decay u); multiples of 4.

    The strip of analyticity asks for about 3.3 nodes per unit of u. The Chebyshev coefficients of exp(-kappa x) on
    [-1, 1] fall like exp(-n^2 / (2 kappa)), and n nodes are exact to degree 2 n.
    """
    strip = 3.3 * length + 8.0
    exponential = 0.5 * np.sqrt(40.0 * 0.5 * decay * length) + 6.0
    return (4 * np.ceil(np.maximum(strip, exponential) / 4)).astype(np.int64)


def _nfw_nodes(psi: Floats, sun_kpc: float, scale_radius_kpc: float, max_distance_kpc: float) -> tuple[Floats, Floats]:
    """log(x / (1 + x)) and ds (1 + x)^-6 at the nodes of lines of sight at angle psi, each (Q, angles)."""
    tangent = sun_kpc * np.cos(psi)
    # the closest approach enters squared: below 1e-9 R0 (at the anticentre) it changes no digit
    approach = sun_kpc * np.maximum(np.sin(psi), 1e-9)
    start, end = np.arcsinh(-tangent / approach), np.arcsinh((max_distance_kpc - tangent) / approach)
    split = np.clip(0.0, start, end)
    count = int(_node_count(np.maximum(split - start, end - split), 0.0).max()) + 4
    panels = _panel(start, split, count), _panel(split, end, count)
    u, du = (np.concatenate(pair) for pair in zip(*panels, strict=True))
    radius = approach * np.cosh(u)
    x = radius / scale_radius_kpc
    return -np.log1p(1.0 / x), du * radius * (1.0 + x) ** -6


def _chebyshev_angles(psi: Floats, lengths: tuple[float, float, float]) -> Floats:
    """The fewest Chebyshev angles that interpolate log J over the range of psi to INTERPOLATION_ERROR."""
    centre, half = _log_range(psi)
    between = np.exp(centre + half * np.cos(np.linspace(0.0, np.pi, 151)))
    wanted = _log_profiles(between, lengths)
    for count in NODE_COUNTS:
        angles = np.exp(centre + half * np.cos(np.pi * (np.arange(count) + 0.5) / count))
        found = _log_profiles(angles, lengths) @ _cardinal(angles, between)
        if np.abs(found - wanted).max() < INTERPOLATION_ERROR:
            return angles
    raise InputError(
        f"NFWSky: {NODE_COUNTS[-1]} angles do not resolve the profile with sun_kpc, scale_radius_kpc, "
        f"max_distance_kpc = {lengths}; expected a Galaxy-like ratio of the three"
    )


def _log_profiles(psi: Floats, lengths: tuple[float, float, float]) -> Floats:
    """log J and d log J / d gamma for every gamma to be checked, (2 gammas, angles)."""
    log_shape, weight = _nfw_nodes(psi, *lengths)
    rows = []
    for gamma in CHECKED_GAMMAS:
        density = weight * np.exp(-2.0 * gamma * log_shape)
        total = density.sum(axis=0)
        rows += [np.log(total), (-2.0 * log_shape * density).sum(axis=0) / total]
    return np.stack(rows)


def _log_range(psi: Floats) -> tuple[float, float]:
    """Centre and half-width of the range of log psi; one single angle keeps a range."""
    low, high = np.log(psi.min()), np.log(psi.max())
    return 0.5 * (low + high), max(0.5 * (high - low), 1e-6)


def _cardinal(angles: Floats, psi: Floats) -> Floats:
    """Chebyshev interpolation in log psi from `angles` to `psi` as a matrix (K, psi)."""
    count = angles.size
    at_nodes = np.pi * (np.arange(count) + 0.5) / count
    # the first and last angle are the outermost nodes, which fixes the map from log psi to [-1, 1]
    log_angles = np.log(angles)
    half = (log_angles[0] - log_angles[-1]) / (2.0 * np.cos(at_nodes[0]))
    x = (np.log(psi) - 0.5 * (log_angles[0] + log_angles[-1])) / half
    degree = np.arange(count)
    scale = np.where(degree == 0, 1.0, 2.0) / count
    values = np.cos(degree[:, None] * np.arccos(np.clip(x, -1.0, 1.0)))
    return np.cos(at_nodes[:, None] * degree) @ (scale[:, None] * values)
