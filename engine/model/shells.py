"""A density of sources in space, cut into shells by the distance from the Sun.

Along the line of sight of a pixel of solid angle Omega there are dn = Omega d^2 n(d) dd sources of density n at the
distance d, and one of luminosity L has the flux F = L / (4 pi d^2). A few distances d_1 < ... < d_J stand for all: of a
source between d_j and d_{j+1} the part

    (d^-2 - d_{j+1}^-2) / (d_j^-2 - d_{j+1}^-2)

counts as one at d_j, and the rest as one at d_{j+1}. Whatever the number of shells, every pixel so keeps its number of
sources and the mean of their fluxes; what is left is the scatter of flux between two neighbours, which falls as J^-2.
One shell keeps the mean flux alone: then the shape of dN/dF is the same everywhere, as with a source-count function.

The distances are fixed: they part int q^(1/3) d ln d evenly, with the flux q per ln d of the region, parameters in the
middle of their priors, as is best for what is linear between nodes (de Boor 1978, A Practical Guide to Splines, ch.
12). At draws of the posterior of `millisecond_pulsars` on the Fermi data the log-likelihood with 12 shells for a
component, the default, is that of 48 but for a constant and 0.3 at most; with 8 shells, 0.8 (`benchmarks/shells.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.model.lines_of_sight import MIN_PSI_RAD, Lines, angles_to_centre, directions_of
from gammasky.engine.model.spec import Component
from gammasky.engine.model.templates.in_space import InSpace, Position
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.observation import Observation

Floats = NDArray[np.float64]

CM_PER_KPC = 3.0856775814913673e21
_SMALLEST_KPC = 0.05  # scale on which lines of sight are resolved about the centre, of what is no sphere there
_LATITUDES_DEG = np.arange(5.0, 50.0, 5.0)  # where lines of sight of what is no sphere pass the Galaxy's axis
_INTERPOLATION_ERROR = 1e-4  # of the sources of a shell in a pixel, in units of the most in any
_LOOKS = 64  # lines of sight, and
_PLACES = 2000  # distances, by which the shells are chosen
_DIGITS = 6  # of distances [kpc]: the same on every machine
_AT_ONCE = 512  # lines of sight whose densities are in memory together
_LEAST = 1e-290  # a number of sources that has a logarithm


class Quadrature(NamedTuple):
    """Distances (Q,) [kpc] of the nodes, and weights (Q, J) [kpc^3 / sr] with which densities there are in shells."""

    distance: Floats
    weight: Floats


class Shells:
    """The shells of one component in the pixels of an observation.

    Args:
        component: with a luminosity function.
        pixels: the N pixels.
        points: parameters that their priors allow; the first are in the middle.

    Attributes:
        distances (J,) [kpc]: of the shells, rising.
        per_luminosity (J,) [cm^-2]: flux of a source of luminosity 1 at these.
        n_region: pixels of the region, the first of the N; pixels_of_region: the same without counting energy bins.
        arrays: every fixed number; functions that are traced take it as an argument.

    Raises:
        InputError: a template that is no density in space, or one that is cut, modulated or has a field.
    """

    def __init__(self, component: Component, pixels: Observation, points: Sequence[Parameters]) -> None:
        luminosity = component.luminosity
        assert luminosity is not None  # of such components only
        self.template, self.n_region = density_of(component), pixels.n_region
        self.pixels_of_region = pixels.n_region // pixels.n_energy
        near, far = luminosity.near_kpc, luminosity.far_kpc
        self.distances = _distances(self.template, pixels, points[0], near, far, luminosity.shells)
        self.per_luminosity = 1.0 / (4.0 * np.pi * (self.distances * CM_PER_KPC) ** 2)
        nodes = _quadrature(self.template, pixels, self.distances, near, far)
        self.arrays: Arrays = {"distance": nodes.distance, "weight": nodes.weight * pixels.pixel_area_sr}
        self.arrays |= self._lines(pixels, points)
        if pixels.relative_area is not None:
            self.arrays["area"] = pixels.relative_area
        weight = None if pixels.relative_area is None else pixels.relative_area[: pixels.n_region]
        inverse = self.arrays["inverse"]
        of_line = np.bincount(inverse[: pixels.n_region], weight, inverse.max() + 1)
        self.arrays["share_of_region"] = of_line / pixels.n_region

    def _lines(self, pixels: Observation, points: Sequence[Parameters]) -> Arrays:
        """The fewest lines of sight that give all pixels."""
        where, symmetry = (pixels.lon_deg, pixels.lat_deg), self.template.symmetry
        if symmetry == "round":
            return _as_arrays(Lines.of_sphere(*where))
        every = Lines.each(*where, symmetry)
        wanted = None
        for few in every.fewer(symmetry):
            if few.directions.shape[1] >= every.directions.shape[1]:
                continue
            wanted = self._at(every, points) if wanted is None else wanted
            error = np.abs(self._at(few, points) - wanted).max(axis=1)
            if (error <= _INTERPOLATION_ERROR * wanted.max(axis=1)).all():
                return _as_arrays(few)
        return _as_arrays(every)

    def _at(self, lines: Lines, points: Sequence[Parameters]) -> Floats:
        """Sources (points, U, J) of each shell on lines of sight, at some parameters."""
        arrays = self.arrays | jax.tree.map(jnp.asarray, _as_arrays(lines))
        return np.stack([np.asarray(self.numbers(point, arrays)) for point in points])

    def numbers(self, theta: Parameters, arrays: Arrays) -> jax.Array:
        """Sources (U, J) of each shell in a pixel of mean size on U lines of sight, for the density of the template as
        it is [kpc^-3]."""

        def some(directions: jax.Array) -> jax.Array:
            place = Position(*(component[:, None] * arrays["distance"] for component in directions))
            return self.template.density(theta, place) @ arrays["weight"]

        directions = jnp.asarray(arrays["directions"])
        lines = directions.shape[1]
        if lines <= _AT_ONCE:
            found = some(directions)
        else:  # one block after the other, and anew for derivatives: room for all of them at many points there is not
            blocks = -(-lines // _AT_ONCE)
            padded = jnp.pad(directions, ((0, 0), (0, blocks * _AT_ONCE - lines)), mode="edge")
            rows = jax.lax.map(jax.checkpoint(some), padded.reshape(3, blocks, _AT_ONCE).transpose(1, 0, 2))
            found = rows.reshape(blocks * _AT_ONCE, -1)[:lines]
        return jnp.exp(arrays["table"] @ jnp.log(jnp.maximum(found, _LEAST))) if "table" in arrays else found

    @staticmethod
    def in_pixels(on_lines: jax.Array, arrays: Arrays, size: int) -> jax.Array:
        """What is in the first pixels (..., size), from what a pixel of mean size has on lines of sight (U, ...)."""
        found = jnp.take(on_lines.T, arrays["inverse"][:size], axis=-1)
        return found * arrays["area"][:size] if "area" in arrays else found

    def volume(self, theta: Parameters) -> jax.Array:
        """Sources in all of space, for the density of the template as it is [kpc^-3]."""
        return self.template.volume(theta)


def _as_arrays(lines: Lines) -> Arrays:
    found = {"directions": lines.directions, "inverse": lines.inverse}
    return found if lines.table is None else found | {"table": lines.table}


def density_of(component: Component) -> InSpace:
    """The density in space that the template of a component is.

    Raises:
        InputError: it is none; says what to do.
    """
    template, where = component.template, f"component '{component.name}'"
    if not isinstance(template, InSpace):
        raise InputError(
            f"{where}: a luminosity function needs to know how far its sources are, and the template "
            f"'{template.label()}' is a shape on the sky only; give one of nfw, einasto, disk and bar, or give "
            "source_counts in place of luminosity"
        )
    for option in ("modulation", "field", "hemisphere"):
        if getattr(template, option) is not None:
            raise InputError(
                f"{where}: {option}: with a luminosity function the template is the density of the sources in space, "
                f"which has no {option}; leave it out"
            )
    template.require_in_space(where)
    return template


def _distances(
    template: InSpace, pixels: Observation, middle: Parameters, near: float, far: float, shells: int
) -> Floats:
    """The distances (J,) [kpc] of the shells, from `near` to `far`; of one, the middle."""
    looks = np.linspace(0, pixels.n_region - 1, min(_LOOKS, pixels.n_region)).astype(int)
    directions = directions_of(pixels.lon_deg[looks], pixels.lat_deg[looks])
    distance = np.geomspace(near, far, _PLACES)
    density = np.asarray(template.density(middle, Position(*(jnp.asarray(n)[:, None] * distance for n in directions))))
    flux = (density * distance).mean(axis=0)  # d^2 n / d^2 per ln d
    density_of_shells = np.cbrt(flux / flux.max()) + 1e-6  # where there is nothing the order stays
    place = np.concatenate([[0.0], np.cumsum(0.5 * (density_of_shells[1:] + density_of_shells[:-1]))])
    wanted = np.linspace(0.0, 1.0, shells) if shells > 1 else np.array([0.5])
    found = np.exp(np.interp(wanted * place[-1], place, np.log(distance)))
    found[[0, -1]] = (near, far) if shells > 1 else found[0]
    return np.round(found, _DIGITS)


def _quadrature(template: InSpace, pixels: Observation, distances: Floats, near: float, far: float) -> Quadrature:
    """Gauss-Legendre between any two shells, in u of d = R0 + w sinh(u): dense about the centre, at the distance R0.

    What is no sphere there may have an edge on the Galaxy's axis, R0 / cos(b) away.
    """
    centre, smallest = template.centre_kpc, float(angles_to_centre(pixels.lon_deg, pixels.lat_deg).min())
    round_ = template.symmetry == "round"
    width = centre * math.sin(min(max(smallest, MIN_PSI_RAD), 0.5 * math.pi)) if round_ else _SMALLEST_KPC
    ends = distances if len(distances) > 1 else np.array([near, far])
    inner = np.array([centre]) if round_ else centre / np.cos(np.deg2rad([0.0, *_LATITUDES_DEG]))
    edges = np.unique(np.concatenate([ends, inner[(inner > ends[0]) & (inner < ends[-1])]]))
    found, steps = [], []
    for low, high in pairwise(edges):
        u = np.arcsinh((np.array([low, high]) - centre) / width)
        count = 6 + math.ceil(7.0 * (u[1] - u[0])) + math.ceil(2.0 * math.log(high / low))
        nodes, weights = np.polynomial.legendre.leggauss(count)
        at = 0.5 * (u[0] + u[1]) + 0.5 * (u[1] - u[0]) * nodes
        found.append(centre + width * np.sinh(at))
        steps.append(0.5 * (u[1] - u[0]) * weights * width * np.cosh(at))
    distance, step = np.concatenate(found), np.concatenate(steps)
    return Quadrature(distance, (step * distance**2)[:, None] * _parts(distance, distances))


def _parts(distance: Floats, shells: Floats) -> Floats:
    """How much of a source at each distance (Q,) counts as one of each shell (Q, J)."""
    if len(shells) == 1:
        return ((shells[0] / distance) ** 2)[:, None]
    nearness, of_shells = distance**-2, shells**-2
    below = np.clip(np.searchsorted(shells, distance) - 1, 0, len(shells) - 2)
    part = (nearness - of_shells[below + 1]) / (of_shells[below] - of_shells[below + 1])
    found = np.zeros((len(distance), len(shells)))
    found[np.arange(len(distance)), below] = part
    found[np.arange(len(distance)), below + 1] = 1.0 - part
    return found
