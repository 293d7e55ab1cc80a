"""What a sky model is, as a file: components with templates, source-count functions, and priors.

A model is one TOML table. Wherever a number may stand, the name of a parameter may stand instead; `[parameters]` gives
every parameter its prior, so a parameter can be shared, fixed or varied without touching a component.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gammasky.engine.files import named_file, read_toml, shipped_files
from gammasky.engine.model.priors import SCALAR_KINDS, Dirichlet, Prior, Smooth
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.schema import Schema, validated

#: A number, or the name of a parameter that takes its place.
Value = Annotated[float, Field(allow_inf_nan=False)] | str


class Modulation(Schema):
    """Multiply a template by 1 + sum_{l=1..l_max} sum_{m=0..l} A_lm Re Y_lm(l, b); normalised anew afterwards."""

    l_max: Annotated[int, Field(ge=1, le=16)]
    coefficients: str


class _Template(Schema):
    """Options of every template."""

    modulation: Modulation | None = None
    hemisphere: Literal["north", "south"] | None = None


class MapTemplate(_Template):
    """A map of the dataset, by name."""

    map: str


class MixTemplate(_Template):
    """A mixture of templates, each of mean 1. `fractions`: a Dirichlet parameter, numbers, or for two templates the
    share of the first (a number or a scalar parameter)."""

    mix: Annotated[list[AnyTemplate], Field(min_length=1)]
    fractions: str | float | list[float]


class NfwSettings(Schema):
    """Generalised-NFW density squared along the line of sight."""

    gamma: Value
    scale_radius_kpc: Annotated[float, Field(gt=0)] = 20.0
    sun_kpc: Annotated[float, Field(gt=0)] = 8.224


class NfwTemplate(_Template):
    """The NFW^2 template with inner slope gamma."""

    nfw: NfwSettings


class DiskSettings(Schema):
    """Lorimer disk: (R/R0)^B exp(-C (R - R0)/R0) exp(-|z|/z_s) along the line of sight."""

    scale_height: Value
    C: Value
    B: Value = 0.0
    sun_kpc: Annotated[float, Field(gt=0)] = 8.224


class DiskTemplate(_Template):
    """The Lorimer disk template."""

    disk: DiskSettings


class BarSettings(Schema):
    """Triaxial bar along the line of sight: falloff(r_s) and a Gaussian cut-off (see `engine.kernels.bar.op`).

    The defaults are model S of Freudenreich (1998), but for the Sun's height of 0.01646 kpc and the pitch of
    0.023 deg, which cost twice the lines of sight; the lengths are on its scale, with the Sun at 8.5 kpc. `angle`
    [deg]: of the bar's near end, towards positive longitude. `length` [kpc]: scale length of the major axis; `ratio_y`,
    `ratio_z`: the other two, over it. `c_perp`, `c_par`: boxiness in the plane and across it. `cut_radius`, `cut_width`
    [kpc]: of the cut-off.
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

    def shape(self) -> dict[str, Value]:
        """The numbers that may be parameters, by name."""
        return {name: getattr(self, name) for name in BAR_LIMITS}


#: The lowest value of each number of a bar: what the quadrature resolves; below exponents of 1 a bar's edges are sharp.
BAR_LIMITS = {
    "angle": -math.inf, "length": 0.05, "ratio_y": 0.05, "ratio_z": 0.05, "c_perp": 1.0, "c_par": 1.0,
    "cut_radius": 0.0, "cut_width": 0.05,
}  # fmt: skip


class BarTemplate(_Template):
    """The template of a triaxial bar."""

    bar: BarSettings


_TEMPLATES = ("map", "mix", "nfw", "disk", "bar")


def _template_kind(value: Any) -> str | None:
    """Which template a TOML value describes: a bare string is a map."""
    if isinstance(value, str):
        return "name"
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((kind for kind in _TEMPLATES if kind in keys), None)


AnyTemplate = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[MapTemplate, Tag("map")]
    | Annotated[MixTemplate, Tag("mix")]
    | Annotated[NfwTemplate, Tag("nfw")]
    | Annotated[DiskTemplate, Tag("disk")]
    | Annotated[BarTemplate, Tag("bar")],
    Discriminator(
        _template_kind,
        custom_error_type="template_kind",
        custom_error_message="a template is the name of a map or a table with one of map, mix, nfw, disk, bar",
    ),
]
MixTemplate.model_rebuild()


class SourceCounts(Schema):
    """Broken power law dN/dS: slopes from above the highest break to below the lowest; breaks [counts], highest first.

    With `relative`, breaks after the first are factors of the one before.
    """

    slopes: list[Value]
    breaks: Annotated[list[Value], Field(min_length=1)]
    relative: bool = False

    @model_validator(mode="after")
    def _lengths(self) -> SourceCounts:
        if len(self.slopes) != len(self.breaks) + 1:
            raise ValueError(f"{len(self.breaks)} breaks need {len(self.breaks) + 1} slopes, got {len(self.slopes)}")
        fixed = [value for value in self.breaks if isinstance(value, float)]
        if any(value <= 0 for value in fixed):
            raise ValueError(f"breaks must be positive, got {min(fixed):g}")
        if self.relative:
            if any(isinstance(value, float) and value >= 1 for value in self.breaks[1:]):
                raise ValueError("relative breaks after the first must be below 1")
        elif fixed != sorted(fixed, reverse=True):
            raise ValueError(f"breaks must fall from the highest to the lowest, got {fixed}")
        return self


class FreeSourceCounts(Schema):
    """Free dN/dS: `values` of log10(S^2 dN/dS) at `nodes` [counts], rising, and a spline of that degree in log S.

    Without a norm the values are absolute [counts per pixel]; with one they are relative: only the shape counts.
    """

    nodes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3)]
    values: str | list[float]
    degree: Literal[1, 3] = 3

    @model_validator(mode="after")
    def _lengths(self) -> FreeSourceCounts:
        if any(b <= a for a, b in pairwise(self.nodes)):
            raise ValueError(f"nodes must rise, got {self.nodes}")
        if isinstance(self.values, list) and len(self.values) != len(self.nodes):
            raise ValueError(f"{len(self.nodes)} nodes need as many values, got {len(self.values)}")
        return self


def _counts_kind(value: Any) -> str:
    """Which source-count function a table describes."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return "free" if "nodes" in keys or "values" in keys else "broken"


AnySourceCounts = Annotated[
    Annotated[SourceCounts, Tag("broken")] | Annotated[FreeSourceCounts, Tag("free")], Discriminator(_counts_kind)
]


class Component(Schema):
    """One component of the sky. With `source_counts` it is a population of point sources, otherwise smooth.

    `norm`: mean counts per pixel over the region of interest. `amplitude` instead of it, for populations: dN/dS at the
    highest break [sources per pixel per count]. `exposure`: "auto" brings a template to what the component needs
    (smooth: intensity maps and analytic profiles times the relative exposure; point sources: counts maps divided by
    it); "as_is" leaves it. `group`: components of one physical origin, smooth and not (for the point-source fraction).
    """

    name: str
    template: AnyTemplate
    norm: Value | None = None
    amplitude: Value | None = None
    source_counts: AnySourceCounts | None = None
    exposure: Literal["auto", "as_is"] = "auto"
    group: str = ""

    @model_validator(mode="after")
    def _one_scale(self) -> Component:
        if isinstance(self.source_counts, FreeSourceCounts):
            if self.amplitude is not None:
                raise ValueError(f"component '{self.name}': the values of a free dN/dS are its amplitude; leave it out")
            return self
        if (self.norm is None) == (self.amplitude is None):
            raise ValueError(f"component '{self.name}' needs either norm or amplitude")
        if self.amplitude is not None and self.source_counts is None:
            raise ValueError(f"component '{self.name}': amplitude is for point sources; use norm")
        return self


class SourceGrid(Schema):
    """Grid of source counts S on which dN/dS lives: logarithmic, from `min` to `max`; no source lies outside."""

    min: Annotated[float, Field(gt=0)] = 0.1
    max: Annotated[float, Field(gt=0)] = 100.0
    nodes: Annotated[int, Field(ge=10, le=100_000)] = 1000

    @model_validator(mode="after")
    def _order(self) -> SourceGrid:
        if self.min >= self.max:
            raise ValueError(f"min must be below max, got min={self.min:g}, max={self.max:g}")
        return self


class ModelSpec(Schema):
    """A sky model as read from TOML."""

    name: str
    description: str = ""
    reference: str = ""
    region: RegionOfInterest = RegionOfInterest()
    source_grid: SourceGrid = SourceGrid()
    parameters: dict[str, Prior]
    components: Annotated[list[Component], Field(min_length=1)]

    @model_validator(mode="after")
    def _component_names(self) -> ModelSpec:
        names = [component.name for component in self.components]
        if len(set(names)) < len(names):
            raise ValueError(f"component names must differ, got {names}")
        return self


_FIELDS = frozenset(
    field
    for kind in (
        ModelSpec, Component, SourceCounts, FreeSourceCounts, SourceGrid, Modulation, MapTemplate, MixTemplate,
        NfwTemplate, NfwSettings, DiskTemplate, DiskSettings, BarTemplate, BarSettings, RegionOfInterest,
        *SCALAR_KINDS, Dirichlet, Smooth,
    )
    for field in kind.model_fields
)  # fmt: skip


def presets() -> dict[str, Path]:
    """The shipped models: name -> TOML file."""
    return shipped_files("gammasky.analyses")


def read_model(name_or_path: str | Path) -> ModelSpec:
    """The model of that preset name or TOML file.

    Raises:
        InputError: unknown preset (with the nearest match), unreadable or invalid file (names the field).
    """
    path = named_file("model", str(name_or_path), presets())
    return model_from_table(read_toml(path), str(path))


def model_from_table(table: dict[str, Any], where: str = "model") -> ModelSpec:
    """A model from a table like the TOML file's.

    Raises:
        InputError: one line with `where`, the field and the remedy.
    """
    return validated(ModelSpec, table, where, _FIELDS)
