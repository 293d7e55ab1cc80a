"""A triaxial bar along the line of sight: the stars of the Galactic bulge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import triaxial_bar
from gammasky.engine.kernels.bar.reference import falloff
from gammasky.engine.model.templates.base import TEMPLATES
from gammasky.engine.model.templates.in_space import InSpace, Position, Symmetry
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.schema import Schema

_LENGTHS, _FARTHEST = 32, 25.0  # nodes of `volume` along each axis, and how far they reach in scale lengths
#: The lowest value of each number of a bar: what the quadrature resolves; below exponents of 1 a bar's edges are sharp.
LIMITS = {
    "angle": -math.inf, "length": 0.05, "ratio_y": 0.05, "ratio_z": 0.05, "c_perp": 1.0, "c_par": 1.0,
    "cut_radius": 0.0, "cut_width": 0.05,
}  # fmt: skip


class BarSettings(Schema):
    """Triaxial bar along the line of sight: falloff(r_s) and a Gaussian cut-off (see `engine.kernels.bar.op`).

    The defaults are model S of Freudenreich (1998), but for the Sun's height of 0.01646 kpc and the pitch of
    0.023 deg, which cost twice the lines of sight; the lengths are on its scale, with the Sun at 8.5 kpc.

    Args:
        angle [deg]: angle of the bar's near end, towards positive longitude.
        length [kpc]: scale length of the major axis.
        ratio_y, ratio_z: the other two scale lengths, in the plane and across it, over `length`.
        c_perp, c_par: boxiness in the plane and across it.
        cut_radius [kpc]: radius where the Gaussian cut-off begins.
        cut_width [kpc]: width of the cut-off.
        falloff: how the density falls with the scaled radius.
        sun_kpc [kpc]: distance of the Sun from the Galactic Centre.
        sun_height_kpc [kpc]: height of the Sun above the plane.
        pitch [deg]: angle of the bar's major axis out of the plane.
    """

    angle: Value = 13.79
    length: Value = 1.696
    ratio_y: Value = 0.6426 / 1.696
    ratio_z: Value = 0.4425 / 1.696
    c_perp: Value = 1.574
    c_par: Value = 3.501
    cut_radius: Value = 3.128
    cut_width: Value = 0.461
    falloff: Literal["sech2", "exponential", "gaussian", "bessel_k0"] = "sech2"
    sun_kpc: Annotated[float, Field(gt=0)] = 8.5
    sun_height_kpc: float = 0.0
    pitch: float = 0.0


@TEMPLATES.add
class BarTemplate(InSpace):
    """The template of a triaxial bar: the stars of the Galactic bulge.

    Args:
        bar: the numbers of the profile.
    """

    kind: ClassVar[str] = "bar"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "boxy bulge: the stars",
            r"""
            @article{Freudenreich1998,
              author        = {Freudenreich, H. T.},
              title         = {A {COBE} Model of the {Galactic} Bar and Disk},
              journal       = {The Astrophysical Journal},
              volume        = {492},
              pages         = {495},
              year          = {1998},
              eprint        = {astro-ph/9707340},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "falloffs of a bar",
            r"""
            @article{Dwek1995,
              author  = {Dwek, E. and Arendt, R. G. and Hauser, M. G. and Kelsall, T. and Lisse, C. M. and Moseley, S. H. and Silverberg, R. F. and Sodroski, T. J. and Weiland, J. L.},
              title   = {Morphology, near-infrared luminosity, and mass of the {Galactic} bulge from {COBE} {DIRBE} observations},
              journal = {The Astrophysical Journal},
              volume  = {445},
              pages   = {716},
              year    = {1995}
            }
            """,  # noqa: E501
        ),
        Citation(
            "a bar of these falloffs in red clump giants",
            r"""
            @article{Cao2013,
              author        = {Cao, Liang and Mao, Shude and Nataf, David and Rattenbury, Nicholas J. and Gould, Andrew},
              title         = {A New Photometric Model of the {Galactic} Bar using Red Clump Giants},
              journal       = {Monthly Notices of the Royal Astronomical Society},
              volume        = {434},
              pages         = {595},
              year          = {2013},
              eprint        = {1303.6430},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
    )

    bar: BarSettings

    def cited(self) -> tuple[Citation, ...]:
        """The falloff sech2 is Freudenreich's own; the others are not."""
        return self.citations[:1] if self.bar.falloff == "sech2" else self.citations

    def _numbers(self) -> dict[str, Value]:
        """The numbers that may be parameters, by name."""
        return {name: getattr(self.bar, name) for name in LIMITS}

    def shape_uses(self, where: str) -> Iterator[Use]:
        for name, value in self._numbers().items():
            yield from uses_of(f"{where}, bar", value, least=LIMITS[name], what=f"{name} of a bar")

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        bar, backend = self.bar, setting.backend
        sky = setting.geometry(
            BarSky,
            falloff=bar.falloff,
            sun_kpc=bar.sun_kpc,
            sun_height_kpc=bar.sun_height_kpc,
            pitch_deg=bar.pitch,
        )

        def intensity(theta: Parameters) -> jax.Array:
            angle, length, ratio_y, ratio_z, c_perp, c_par, radius, width = (
                value_of(value, theta) for value in self._numbers().values()
            )
            y, z = length * ratio_y, length * ratio_z
            return triaxial_bar(angle, length, y, z, c_perp, c_par, radius, width, sky, backend=backend)

        return intensity

    @property
    def centre_kpc(self) -> float:
        return self.bar.sun_kpc

    @property
    def symmetry(self) -> Symmetry:
        return "halves" if self.bar.sun_height_kpc == 0.0 and self.bar.pitch == 0.0 else "none"

    def require_in_space(self, where: str) -> None:
        if self.bar.falloff == "bessel_k0":
            raise InputError(
                f"{where}: falloff 'bessel_k0' takes too long as a density in space; expected sech2, exponential or "
                "gaussian"
            )

    def density(self, theta: Parameters, place: Position) -> jax.Array:
        bar, numbers = self.bar, self._values(theta)
        angle, pitch = jnp.deg2rad(numbers["angle"]), np.deg2rad(bar.pitch)
        x, y, z = bar.sun_kpc - place.x, place.y, place.z + bar.sun_height_kpc
        in_plane, across = x * jnp.cos(angle) + y * jnp.sin(angle), y * jnp.cos(angle) - x * jnp.sin(angle)
        along, above = in_plane * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - in_plane * np.sin(pitch)
        return self._density(numbers, along, across, above, jnp.hypot(x, y))

    def volume(self, theta: Parameters) -> jax.Array:
        """By Gauss-Legendre in an octant, of lengths in units of the bar's; the pitch is left out of the cut-off."""
        numbers = self._values(theta)
        nodes, weights = np.polynomial.legendre.leggauss(_LENGTHS)
        place, weight = _FARTHEST * (0.5 + 0.5 * nodes) ** 2, _FARTHEST * weights * (0.5 + 0.5 * nodes)
        x, y, z = jnp.meshgrid(place, place, place, indexing="ij")
        lengths = [numbers["length"] * factor for factor in (1.0, numbers["ratio_y"], numbers["ratio_z"])]
        along, across, above = (length * v for length, v in zip(lengths, (x, y, z), strict=True))
        values = self._density(numbers, along, across, above, jnp.hypot(along, across))
        return 8.0 * lengths[0] * lengths[1] * lengths[2] * jnp.einsum("ijk,i,j,k", values, weight, weight, weight)

    def _values(self, theta: Parameters) -> dict[str, jax.Array]:
        return {name: value_of(value, theta) for name, value in self._numbers().items()}

    def _density(
        self, numbers: dict[str, jax.Array], along: jax.Array, across: jax.Array, above: jax.Array, radius: jax.Array
    ) -> jax.Array:
        """At places (...) [kpc] along the bar's axes, and at distances from the Galaxy's axis."""
        x, y, z = (
            jnp.maximum(jnp.abs(v) / (numbers["length"] * factor), 1e-60)  # a power has no slope at zero
            for v, factor in ((along, 1.0), (across, numbers["ratio_y"]), (above, numbers["ratio_z"]))
        )
        perp, par = numbers["c_perp"], numbers["c_par"]
        scaled = ((x**perp + y**perp) ** (par / perp) + z**par) ** (1.0 / par)
        beyond = jnp.maximum(radius - numbers["cut_radius"], 0.0) / numbers["cut_width"]
        return falloff(scaled, self.bar.falloff) * jnp.exp(-(beyond**2))
