"""What every template is: a description in a model file that becomes a function of the parameters.

The function gives values with mean 1 over the region. Fixed numbers (maps, harmonics, exposure) go into one table of
arrays that is passed to every call, so that compiled programs hold no data.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.templates.field import AnyField, TemplateField, with_field
from gammasky.engine.model.templates.function import Evaluate, Function
from gammasky.engine.model.templates.modulation import Modulation, modulated
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema


class Template(Schema):
    """Base of all templates, and the options that each of them has.

    A new kind gives `kind` (the key that tells it in a model file), `shape`, `shape_uses` and, if it has a name of its
    own in mixtures, `label`. `citations` are the works behind it.

    Args:
        modulation: by spherical harmonics with free coefficients.
        field: times exp(g) with a Gaussian process g, normalised anew.
        hemisphere: only that half of the template, north or south of the Galactic plane.
    """

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()
    modulation: Modulation | None = None
    field: Annotated[AnyField | None, Field(repr=False)] = None
    hemisphere: Literal["north", "south"] | None = None

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Without a field that is not there: a model without fields is written, and identified, as ever."""
        return {name: value for name, value in handler(self).items() if name != "field" or value is not None}

    @abstractmethod
    def shape(self, setting: Setting) -> Function:
        """Make the function of the template without its options."""

    @abstractmethod
    def shape_uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it, options aside.

        Raises:
            InputError: a fixed number that makes no sense; says `where`.
        """

    def label(self) -> str:
        """A short name, for the elements of a mixture."""
        return self.kind

    def leaves(self) -> Iterator[Template]:
        """The maps and profiles that it is made of."""
        yield self

    def fields(self) -> Iterator[TemplateField]:
        """The fields on it and on its parts."""
        if self.field is not None:
            yield self.field

    def fluxes(self, norm: jax.Array, theta: Parameters) -> list[jax.Array]:
        """The mean counts per pixel of each of its parts, where free shares decide between them.

        Args:
            norm: of the whole template [counts per pixel].
            theta: the parameters.
        """
        del norm, theta
        return []

    def cited(self) -> tuple[Citation, ...]:
        """Those of the works that this template, with its settings, rests on."""
        return self.citations

    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in the template; none where all its numbers are fixed.

        Raises:
            InputError: a fixed number that makes no sense; says `where`.
        """
        yield from self.shape_uses(where)
        if self.modulation is not None:
            yield self.modulation.use(where)
        if self.field is not None:
            yield from self.field.uses(where)

    def build(self, setting: Setting) -> Function:
        """Make the function of the template, with its options.

        Raises:
            InputError: an unknown map, one that is empty in the region, or a field that does not fit it.
        """
        function = self.shape(setting)
        if self.modulation is not None:
            function = modulated(function, self.modulation, setting)
        if self.field is not None:
            self._require_hemisphere(setting)
            function = with_field(function, self.field, setting)
        return function if self.hemisphere is None else _cut(function, self.hemisphere, setting)

    def _require_hemisphere(self, setting: Setting) -> None:
        """Refuse a field where the half of the sky that the template keeps is not in the region."""
        latitudes = setting.pixels.lat_deg[: setting.pixels.n_region]
        if self.field is None or self.hemisphere is None:
            return
        if not ((latitudes >= 0) == (self.hemisphere == "north")).any():
            raise InputError(
                f"field '{self.field.coefficients}': its template is zero everywhere in the region, which has nothing "
                f"of the {self.hemisphere}; leave the field out"
            )


class Profile(Template):
    """Base of templates that are emission by position on the sky, an intensity: `intensity` is all they need."""

    @abstractmethod
    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        """A function from the parameters to values (N,) in any normalisation."""

    def normalised(self, setting: Setting, exposure: str | None) -> Evaluate:
        """A function of (arrays, theta, size, times) that gives values (size,) of mean `times` over the region.

        Args:
            setting: the pixels.
            exposure: key of what the intensity is multiplied by; None: nothing.
        """
        intensity, n_region = self.intensity(setting), setting.pixels.n_region

        def normalised(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
            values = intensity(theta) if exposure is None else intensity(theta) * arrays[exposure]
            return times * values[:size] / jnp.mean(values[:n_region])

        return normalised

    def shape(self, setting: Setting) -> Function:
        counts = not (setting.point_sources or setting.as_is)
        exposure, uses = per_intensity(setting, counts), list(self.shape_uses(""))
        self.require_positive(setting, exposure, uses)
        normalised = self.normalised(setting, exposure)
        if uses:
            return Function(moving=normalised)
        # nothing is free in it: integrated once
        plain = self.model_copy(update={"modulation": None, "field": None, "hemisphere": None})
        values = normalised(setting.arrays, {}, setting.pixels.n_pixels, 1.0)
        return Function.fixed(setting.store(f"{plain!r}:{counts}", np.asarray(values)))

    def require_positive(self, setting: Setting, exposure: str | None, uses: list[Use]) -> None:
        """Refuse an intensity without a mean to divide by; one that moves is looked at in the middle of its priors.

        Raises:
            InputError: says where it is no finite number, or what its mean in the region is.
        """
        pixels, at = setting.pixels, " with every parameter in the middle of its prior" if uses else ""
        values = np.asarray(self.intensity(setting)(setting.middle(uses)))[: pixels.n_region]
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            lon, lat = pixels.lon_deg[bad[0]], pixels.lat_deg[bad[0]]
            raise InputError(
                f"template '{self.label()}'{at}: expected finite numbers in the region of interest, got "
                f"{values[bad[0]]:g} at longitude {lon:.2f}, latitude {lat:.2f} deg; correct it there"
            )
        mean = (values if exposure is None else values * setting.arrays[exposure][: pixels.n_region]).mean()
        if not mean > 0:
            raise InputError(
                f"template '{self.label()}'{at}: expected a mean above zero in the region of interest, got {mean:g}; "
                "correct it, or leave it out"
            )


def per_intensity(setting: Setting, counts: bool) -> str | None:
    """The key of what an intensity is multiplied by, with the exposure for `counts`, or without; None: nothing."""
    pixels = setting.pixels
    if pixels.relative_area is None:
        return setting.store("relative_exposure", pixels.relative_exposure) if counts else None
    if not counts:
        return setting.store("relative_area", pixels.relative_area)
    return setting.store("relative_exposure_area", pixels.relative_exposure * pixels.relative_area)


def _cut(function: Function, hemisphere: str, setting: Setting) -> Function:
    """Zero in the other hemisphere, not normalised anew: equal norms north and south give the whole template."""
    inside = (setting.pixels.lat_deg >= 0) == (hemisphere == "north")
    cut = setting.store(f"hemisphere:{hemisphere}", inside.astype(np.float64))
    maps = tuple(setting.store(f"{key}:{hemisphere}", setting.arrays[key] * inside) for key in function.maps)
    whole = function.moving

    def moving(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
        assert whole is not None  # as below
        return whole(arrays, theta, size, times) * arrays[cut][:size]

    return Function(maps, function.shares, None if whole is None else moving)


TEMPLATES: Registry[type[Template]] = Registry("template")


def _add_installed(words: Iterable[Any]) -> None:
    """Register the kinds of these words that installed packages offer as entry points of `gammasky.templates`."""
    for entry in entry_points(group="gammasky.templates"):
        if entry.name in words:
            kind = entry.load()
            if not (isinstance(kind, type) and issubclass(kind, Template) and kind.kind == entry.name):
                raise InputError(
                    f"entry point '{entry.name}' of gammasky.templates: expected a class of templates whose kind is "
                    f"'{entry.name}', got {entry.value}"
                )
            TEMPLATES.add(kind)


def _as_template(value: Any) -> Any:
    """The template that a name or a table describes: a bare name is a map."""
    if isinstance(value, str):
        return TEMPLATES.named("map").model_validate({"map": value})
    if isinstance(value, dict):
        if not TEMPLATES.kinds.keys() & value.keys():
            _add_installed(value)
        for word, kind in TEMPLATES.kinds.items():
            if word in value:
                return kind.model_validate(value)
    if isinstance(value, Template):
        return value
    raise ValueError(f"a template is the name of a map or a table with one of {TEMPLATES.words()}")


AnyTemplate = Annotated[SerializeAsAny[Template], BeforeValidator(_as_template)]
