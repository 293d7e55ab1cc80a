"""What a sky model is, as a file: components with templates, source-count functions, and priors.

A model is one TOML table. Wherever a number may stand, the name of a parameter may stand instead; `[parameters]` gives
every parameter its prior, so a parameter can be shared, fixed or varied without touching a component.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from gammasky.engine.files import named_file, read_toml, shipped_files
from gammasky.engine.model.priors import PRIORS, Prior
from gammasky.engine.model.source_counts import SOURCE_COUNTS, AnySourceCounts
from gammasky.engine.model.templates import TEMPLATES, AnyTemplate, MapTemplate
from gammasky.engine.model.terms.base import TERMS, AnyTerm
from gammasky.engine.model.values import Use, Value, uses_of
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.schema import Schema, validated


class Component(Schema):
    """One component of the sky. With `source_counts` it is a population of point sources, otherwise smooth.

    Args:
        name: name of the component, unlike all others.
        template: shape on the sky: the name of a map of the data set, or a table that describes a template.
        norm [counts per pixel]: mean over the region of interest; a number or the name of a parameter.
        amplitude [sources per pixel per count]: for populations in place of `norm`: dN/dS at the highest break.
        source_counts: the source-count function dN/dS of a population.
        exposure: "auto" brings a template to what the component needs (smooth: intensity maps and analytic profiles
            times the relative exposure; point sources: counts maps divided by it); "as_is" leaves it.
        group: components of one physical origin, smooth and not, have one group: the point-source fraction is its
            sources' part of its flux.
    """

    name: str
    template: AnyTemplate
    norm: Value | None = None
    amplitude: Value | None = None
    source_counts: AnySourceCounts | None = None
    exposure: Literal["auto", "as_is"] = "auto"
    group: str = ""

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if self.source_counts is not None and self.source_counts.absolute:
            if self.amplitude is not None:
                raise ValueError(f"component '{self.name}': the values of a free dN/dS are its amplitude; leave it out")
            return self
        if (self.norm is None) == (self.amplitude is None):
            raise ValueError(f"component '{self.name}' needs either norm or amplitude")
        if self.amplitude is not None and self.source_counts is None:
            raise ValueError(f"component '{self.name}': amplitude is for point sources; use norm")
        return self

    def uses(self) -> Iterator[Use]:
        """Every place of a parameter in the component.

        Raises:
            InputError: a fixed number that makes no sense.
        """
        where = f"component '{self.name}'"
        yield from uses_of(where, self.norm, self.amplitude)
        if self.source_counts is not None:
            yield from self.source_counts.uses(where)
        yield from self.template.uses(where)


class SourceGrid(Schema):
    """Grid of source counts S on which dN/dS lives: logarithmic, from `min` to `max`; no source lies outside.

    Args:
        min, max [counts]: the lowest and the highest S.
        nodes: how many points it has.
    """

    min: Annotated[float, Field(gt=0)] = 0.1
    max: Annotated[float, Field(gt=0)] = 100.0
    nodes: Annotated[int, Field(ge=10, le=100_000)] = 1000

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min must be below max, got min={self.min:g}, max={self.max:g}")
        return self

    def points(self) -> NDArray[np.float64]:
        """The nodes S (S,) [counts at the reference exposure]."""
        return np.geomspace(self.min, self.max, self.nodes)


class ModelSpec(Schema):
    """A sky model as read from TOML.

    Args:
        name: name of the model.
        description: the model in a few words; `gammasky models` shows it.
        reference: the paper that it is from.
        region: the region of interest: which pixels are fitted, and which set the normalisation of templates.
        source_grid: the grid of counts on which the source-count functions live.
        parameters: the prior of each parameter, by name.
        components: what the sky is made of, one table `[[components]]` each.
        terms: further terms of the likelihood beside that of the counts, which every model has.
    """

    name: str
    description: str = ""
    reference: str = ""
    region: RegionOfInterest = RegionOfInterest()
    source_grid: SourceGrid = SourceGrid()
    parameters: dict[str, Prior]
    components: Annotated[list[Component], Field(min_length=1)]
    terms: tuple[AnyTerm, ...] = ()

    @model_validator(mode="after")
    def _component_names(self) -> Self:
        names = [component.name for component in self.components]
        if len(set(names)) < len(names):
            raise ValueError(f"component names must differ, got {names}")
        return self

    @property
    def smooth(self) -> list[Component]:
        """The components without point sources."""
        return [component for component in self.components if component.source_counts is None]

    @property
    def populations(self) -> list[Component]:
        """The components that are populations of point sources."""
        return [component for component in self.components if component.source_counts is not None]

    @property
    def maps(self) -> set[str]:
        """Names of the maps of the data set that components take as templates."""
        leaves = [leaf for component in self.components for leaf in component.template.leaves()]
        return {leaf.map for leaf in leaves if isinstance(leaf, MapTemplate)}


def _known_fields() -> frozenset[str]:
    """Every key that a model file may hold, for the nearest match of one that is unknown."""
    kinds: list[type[BaseModel]] = [ModelSpec, Component, SourceGrid, RegionOfInterest]
    for registry in (PRIORS, SOURCE_COUNTS, TEMPLATES, TERMS):
        kinds += registry.kinds.values()
    fields = [field for kind in kinds for field in kind.model_fields.items()]
    tables = [info.annotation for _, info in fields]
    inner = [table for table in tables if isinstance(table, type) and issubclass(table, BaseModel)]
    return frozenset([name for name, _ in fields] + [name for table in inner for name in table.model_fields])


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
    return validated(ModelSpec, table, where, _known_fields())
