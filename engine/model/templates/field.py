"""A field on a template: the template times exp(g) with a Gaussian process g, normalised anew to mean 1.

g = Phi z with fixed functions Phi and z ~ N(0, 1): see `field_bases`. Fields that have the same coefficients, amplitude
and length are one field: templates share it by naming the same parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from gammasky.engine.errors import InputError
from gammasky.engine.model.expressions import read
from gammasky.engine.model.templates.field_bases import (
    FARTHEST_DEG,
    MARGIN,
    Box,
    orders,
    real_harmonics,
    root_density,
    root_power,
)
from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.schema import Schema

Floats = NDArray[np.float64]
LARGEST_AMPLITUDE = 3.0  # exp(g) then spans a factor of 400 within one standard deviation
_CONTAINED = 0.68  # of the photons of a source: what the scale of the PSF holds


@dataclass(frozen=True)
class BuiltField:
    """A field in given pixels: g = (coefficients * roots) @ basis.

    Attributes:
        coefficients: name of their parameter.
        basis: key of the functions (M, N / E) in the table of arrays.
        roots: (arrays, theta) -> prior standard deviation of the weight of each function (M,).
        wavelengths_deg (M,) [deg]: length of the waves of each.
    """

    coefficients: str
    basis: str
    roots: Callable[[Arrays, Parameters], jax.Array]
    wavelengths_deg: Floats

    def __call__(self, arrays: Arrays, theta: Parameters) -> jax.Array:
        """g (N / E,) in each pixel of the sky."""
        return (theta[self.coefficients] * self.roots(arrays, theta)) @ arrays[self.basis]


class TemplateField(Schema):
    """Base of fields.

    Args:
        amplitude: prior standard deviation of g at any place: 0.1 is about 10 per cent of the template.
        coefficients: name of the parameter that holds the standard-normal coefficients of the modes; templates that
            name the same one share the field.
    """

    amplitude: Value
    coefficients: str

    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Names of the modes."""

    @abstractmethod
    def build(self, setting: Setting) -> BuiltField:
        """Make the function that gives g in each pixel of the sky, once whatever the number of energy bins.

        Raises:
            InputError: what the basis does not resolve.
        """

    def own_uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it but for amplitude and coefficients."""
        del where
        return iter(())

    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it.

        Raises:
            InputError: a fixed amplitude below zero; says `where`.
        """
        where = f"{where}, field"
        yield from uses_of(f"{where}, amplitude", self.amplitude, least=0.0, what="the amplitude of a field")
        yield from self.own_uses(where)
        yield Use(self.coefficients, where, self.elements(), block=True)

    def require_amplitude(self, setting: Setting) -> None:
        """Refuse an amplitude that can be larger than any field of a template.

        Raises:
            InputError: says what it can be.
        """
        high = _limits(self.amplitude, setting.priors)[1]
        if high > LARGEST_AMPLITUDE:
            raise InputError(
                f"field '{self.coefficients}': amplitude: expected at most {LARGEST_AMPLITUDE:g}, which is a factor of "
                f"{np.exp(2 * LARGEST_AMPLITUDE):.0f} from trough to crest; {_got(self.amplitude, high)}"
            )

    def require_modes(self, key: str, most: int | None, setting: Setting) -> None:
        """Refuse modes whose waves are shorter than the PSF is wide, and more modes of all fields than pixels.

        Args:
            key: of the setting that says how many there are.
            most: the most that it may be because of the PSF; None: any.
            setting: the pixels, and the fields so far.

        Raises:
            InputError: says how many there may be.
        """
        given = getattr(self, key)
        if most is not None and given > most:
            raise InputError(
                f"field '{self.coefficients}': {key}: expected at most {most}, whose waves are as long as the PSF is "
                f"wide ({psf_width_deg(setting.pixels):.2g} deg): shorter ones would imitate sources; got {given}"
            )
        n_modes, n_pixels = len(self.elements()), setting.pixels.n_fit // setting.pixels.n_energy
        # fields that share coefficients have the same modes
        others = {f.coefficients: len(f.elements()) for f in setting.fields if f.coefficients != self.coefficients}
        if n_modes + sum(others.values()) > n_pixels:
            more = f" and {', '.join(others)} {sum(others.values())}" if others else ""
            raise InputError(
                f"field '{self.coefficients}': {key}: {given} makes {n_modes} modes{more}, more than the {n_pixels} "
                "fitted pixels; give fewer"
            )


class KernelField(TemplateField):
    """A Gaussian process with a kernel on the plane, as a sum of sines in a box around the region of interest.

    The amplitude and the length may be parameters. The box lies as far outside the region as the longest length asks
    for, and the sines must be as many as the shortest one does: with too few modes the message names how many.

    Args:
        kernel: "matern32", "matern52" or "squared_exponential", from rough to smooth.
        length_deg [deg]: length of the kernel.
        modes: sines along each of the two axes of the region; there are modes^2 coefficients.
    """

    kernel: Literal["matern32", "matern52", "squared_exponential"]
    length_deg: Value
    modes: Annotated[int, Field(ge=1, le=64)]

    def elements(self) -> tuple[str, ...]:
        return tuple(f"{x},{y}" for x in range(1, self.modes + 1) for y in range(1, self.modes + 1))

    def own_uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, length_deg", self.length_deg, least=0.0, what="the length of a field")

    def box(self, setting: Setting) -> Box:
        """The box that the sines live in.

        Raises:
            InputError: a length or a number of modes that does not fit it.
        """
        pixels, name = setting.pixels, f"field '{self.coefficients}'"
        lon, lat = pixels.lon_deg[: pixels.n_region], pixels.lat_deg[: pixels.n_region]
        low, high = _limits(self.length_deg, setting.priors)
        box = Box.around(lon, lat, MARGIN[self.kernel] * (high if np.isfinite(high) else 0.0))
        if box.farthest_deg(lon, lat) > FARTHEST_DEG:
            raise InputError(
                f"{name}: the region reaches farther than {FARTHEST_DEG:g} deg from its middle, where the plane of a "
                "kernel is no sky; give `harmonics` in place of `kernel`"
            )
        widest = 2.0 * max(box.half)
        if high > widest:
            raise InputError(
                f"{name}: length_deg: expected at most {widest:.3g} deg, the width of the region: a longer field is a "
                f"norm; {_got(self.length_deg, high)}"
            )
        self.require_modes("modes", box.most_modes(psf_width_deg(pixels)), setting)
        shortest = box.shortest_deg(self.kernel, self.modes)
        if low < shortest:
            enough = f"give modes = {box.modes_for(self.kernel, low)}" if low > 0 else "let it begin above 0"
            raise InputError(
                f"{name}: length_deg: {self.modes} modes resolve lengths from {shortest:.3g} deg on (in a box for "
                f"lengths up to {high:.3g} deg); {_got(self.length_deg, low, 'begins')}: {enough}, or narrow the length"
            )
        return box

    def build(self, setting: Setting) -> BuiltField:
        box = self.box(setting)
        key, frequencies = f"sines:{self.modes}:{box}", f"frequencies:{self.modes}:{box.side}"
        if key not in setting.arrays:
            setting.store(key, box.sines(self.modes, *_positions(setting.pixels)))
            setting.store(frequencies, box.frequencies(self.modes))

        def roots(arrays: Arrays, theta: Parameters) -> jax.Array:
            length = value_of(self.length_deg, theta)
            scale = value_of(self.amplitude, theta) * jnp.sqrt(2.0 * jnp.pi) * length
            return scale * root_density(self.kernel, arrays[frequencies] * length)

        return BuiltField(self.coefficients, key, roots, 2.0 * np.pi / box.frequencies(self.modes))


class HarmonicField(TemplateField):
    """Real spherical harmonics, sines and cosines, with a power spectrum C_l ~ l^-slope.

    Args:
        harmonics: the highest degree l; there are (harmonics + 1)^2 - 1 coefficients, from l = 1 on.
        slope: of the power spectrum: 0 gives every coefficient the same variance, 2 lets large waves dominate.
    """

    harmonics: Annotated[int, Field(ge=1, le=64)]
    slope: Value = 2.0

    def elements(self) -> tuple[str, ...]:
        return tuple(f"{degree},{order}" for degree, order in orders(self.harmonics))

    def own_uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, slope", self.slope)

    def build(self, setting: Setting) -> BuiltField:
        width = psf_width_deg(setting.pixels)
        self.require_modes("harmonics", int(360.0 / width) if width > 0 else None, setting)
        key, degrees = f"real harmonics:{self.harmonics}", f"degrees:{self.harmonics}"
        of_orders = np.array([float(degree) for degree, _ in orders(self.harmonics)])
        if key not in setting.arrays:
            setting.store(key, real_harmonics(self.harmonics, *_positions(setting.pixels)))
            setting.store(degrees, of_orders)

        def roots(arrays: Arrays, theta: Parameters) -> jax.Array:
            power = root_power(arrays[degrees], value_of(self.slope, theta), self.harmonics)
            return value_of(self.amplitude, theta) * power

        return BuiltField(self.coefficients, key, roots, 360.0 / of_orders)


def _described(value: Any) -> Any:
    """The field that a table describes: one of its keys tells which."""
    if isinstance(value, TemplateField) or value is None:
        return value
    kinds: dict[str, type[TemplateField]] = {"kernel": KernelField, "harmonics": HarmonicField}
    found = [kind for key, kind in kinds.items() if isinstance(value, Mapping) and key in value]
    if len(found) != 1:
        raise ValueError("a field is a table with either kernel or harmonics")
    return found[0].model_validate(value)


AnyField = Annotated[KernelField | HarmonicField, BeforeValidator(_described)]


def with_field(function: Function, field: TemplateField, setting: Setting) -> Function:
    """`function` times exp(g), over the mean of that in the region.

    Raises:
        InputError: a function that is zero in the region, or what the basis of the field does not resolve.
    """
    pixels = setting.pixels
    n_region, n_pixels = pixels.n_region, pixels.n_pixels
    if function.moving is None and not any(setting.arrays[key][:n_region].any() for key in function.maps):
        raise InputError(
            f"field '{field.coefficients}': its template is zero everywhere in the region; leave the field out"
        )
    field.require_amplitude(setting)
    found = field.build(setting)
    setting.fields.setdefault(field, found)

    def moving(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
        g = in_every_bin(found(arrays, theta), pixels)
        # the top of the field drops out of the ratio, but exp could not hold a high one
        values = function(arrays, theta, n_pixels) * jnp.exp(g - jax.lax.stop_gradient(jnp.max(g)))
        return times * values[:size] / jnp.mean(values[:n_region])

    return Function(moving=moving)


def named(fields: Iterable[TemplateField]) -> dict[str, TemplateField]:
    """Fields by the name of their coefficients; a second one with the same coefficients also by its number."""
    found: dict[str, TemplateField] = {}
    for field in fields:
        more = sum(other.coefficients == field.coefficients for other in found.values())
        found[f"{field.coefficients} ({more + 1})" if more else field.coefficients] = field
    return found


def in_every_bin(values: jax.Array, pixels: Observation) -> jax.Array:
    """Values (N / E,) of every pixel of the sky, in the N pixels of all energy bins."""
    bins = pixels.n_energy
    if bins == 1:
        return values
    ends = [end // bins for end in (0, pixels.n_fit, pixels.n_region, pixels.n_pixels)]
    return jnp.concatenate([jnp.tile(values[first:last], bins) for first, last in pairwise(ends)])


def _positions(pixels: Observation) -> tuple[Floats, Floats]:
    """Longitude and latitude (N / E,) [deg] of every pixel of the sky, those of the fit first."""
    return tuple(pixels.by_bin(values)[0] for values in (pixels.lon_deg, pixels.lat_deg))


def psf_width_deg(pixels: Observation) -> float:
    """Diameter [deg] of the disc that holds 68 % of the photons of a source, in the energy bin where it is widest."""
    return 2.0 * max(float(np.rad2deg(psf.radius(np.array([_CONTAINED]))[0])) for psf in pixels.psf)


def _limits(value: Value, priors: Mapping[str, Any]) -> tuple[float, float]:
    """The lowest and the highest value of a number, or of an expression of parameters, as their priors show them."""
    if not isinstance(value, str):
        return float(value), float(value)
    expression = read(value)
    low, high = expression.limits({name: priors[name].shown() for name in expression.names()})
    return float(low), float(high)


def _got(value: Value, end: float, verb: str = "ends") -> str:
    """What a message says of a number that is out of range."""
    if not isinstance(value, str):
        return f"got {end:.3g}"
    return f"the prior of '{value}' {verb} at {end:.3g}"
