"""What every template is: a description in a model file that becomes a function of the parameters.

The function takes (arrays, theta) and gives values in the N pixels, with mean 1 over the region. Fixed numbers (maps,
harmonics, exposure) go into one table of arrays that is passed to every call, so that compiled programs hold no data.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from gammasky.engine.citation import Citation
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.templates.modulation import Modulation
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.schema import Schema

Function = Callable[[Arrays, Parameters], jax.Array]


@dataclass
class Setting:
    """What templates are built for: the pixels, where maps come from, and what the component needs.

    Attributes:
        dataset: gives maps by name.
        pixels: the N pixels.
        backend: of the kernels.
        arrays: the fixed numbers of all templates built so far; templates add theirs.
        point_sources: the component needs sources per pixel (intensity) rather than counts.
        as_is: the component takes templates as they are.
        geometries: lines of sight and the like, shared by all templates that need the same.
    """

    dataset: Dataset
    pixels: Observation
    backend: str
    arrays: Arrays = field(default_factory=dict)
    point_sources: bool = False
    as_is: bool = False
    geometries: dict[Hashable, Any] = field(default_factory=dict)

    def store(self, name: str, values: np.ndarray) -> str:
        """Put fixed numbers into the table of arrays; the key under which functions find them."""
        self.arrays[name] = values
        return name

    def geometry(self, kind: Any, **lengths: Any) -> Any:
        """`kind.build(lon_deg, lat_deg, **lengths)` for the pixels, made once for all templates that need the same."""
        key = (kind, *lengths.values())
        if key not in self.geometries:
            self.geometries[key] = kind.build(self.pixels.lon_deg, self.pixels.lat_deg, **lengths)
        return self.geometries[key]


class Template(Schema):
    """Base of all templates, and the options that each of them has.

    A new kind gives `kind` (the key that tells it in a model file), `shape`, `shape_uses` and, if it has a name of its
    own in mixtures, `label`. `citations` are the works behind it.
    """

    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()
    modulation: Modulation | None = None
    hemisphere: Literal["north", "south"] | None = None

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

    def build(self, setting: Setting) -> Function:
        """Make the function of the template, with its options.

        Raises:
            InputError: an unknown map, or one that is empty in the region.
        """
        function = self.shape(setting)
        if self.modulation is not None:
            function = _modulated(function, self.modulation, setting)
        return function if self.hemisphere is None else _cut(function, self.hemisphere, setting)


class Profile(Template):
    """Base of templates that are emission by position on the sky, an intensity: `intensity` is all they need."""

    @abstractmethod
    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        """A function from the parameters to values (N,) in any normalisation."""

    def shape(self, setting: Setting) -> Function:
        counts = not (setting.point_sources or setting.as_is)
        exposure = setting.store("relative_exposure", setting.pixels.relative_exposure)
        evaluate, n_region = self.intensity(setting), setting.pixels.n_region

        def profile(arrays: Arrays, theta: Parameters) -> jax.Array:
            values = evaluate(theta)
            values = values * arrays[exposure] if counts else values
            return values / jnp.mean(values[:n_region])

        if any(self.shape_uses("")):
            return profile
        # nothing is free in it: integrated once
        plain = self.model_copy(update={"modulation": None, "hemisphere": None})
        key = setting.store(f"{plain!r}:{counts}", np.asarray(profile(setting.arrays, {})))
        return lambda arrays, _theta: arrays[key]


def _modulated(function: Function, modulation: Modulation, setting: Setting) -> Function:
    key = setting.store(
        f"harmonics:{modulation.l_max}", modulation.harmonics(setting.pixels.lon_deg, setting.pixels.lat_deg)
    )
    n_region = setting.pixels.n_region

    def modulated(arrays: Arrays, theta: Parameters) -> jax.Array:
        values = function(arrays, theta) * (1.0 + theta[modulation.coefficients] @ arrays[key])
        return values / jnp.mean(values[:n_region])

    return modulated


def _cut(function: Function, hemisphere: str, setting: Setting) -> Function:
    """Zero in the other hemisphere, not normalised anew: equal norms north and south give the whole template."""
    inside = (setting.pixels.lat_deg >= 0) == (hemisphere == "north")
    key = setting.store(f"hemisphere:{hemisphere}", inside.astype(np.float64))
    return lambda arrays, theta: function(arrays, theta) * arrays[key]


TEMPLATES: Registry[type[Template]] = Registry("template")


def _as_template(value: Any) -> Any:
    """The template that a name or a table describes: a bare name is a map."""
    if isinstance(value, str):
        return TEMPLATES.named("map").model_validate({"map": value})
    if isinstance(value, dict):
        for word, kind in TEMPLATES.kinds.items():
            if word in value:
                return kind.model_validate(value)
    if isinstance(value, Template):
        return value
    raise ValueError(f"a template is the name of a map or a table with one of {TEMPLATES.words()}")


AnyTemplate = Annotated[SerializeAsAny[Template], BeforeValidator(_as_template)]
