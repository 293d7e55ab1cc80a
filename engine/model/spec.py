"""What a sky model is, as a file: components with templates, source-count functions, and priors.

A model is one TOML table. Wherever a number may stand, the name of a parameter or an expression of parameters may stand
instead; `[parameters]` gives every parameter its prior, so a parameter can be shared, fixed or varied without touching
a component, and priors can stand on what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.files import named_file, read_toml, shipped_files
from gammasky.engine.model.expressions import is_name
from gammasky.engine.model.luminosity import LUMINOSITIES, AnyLuminosity
from gammasky.engine.model.priors import PRIORS, Prior
from gammasky.engine.model.source_counts import SOURCE_COUNTS, AnySourceCounts, Limits
from gammasky.engine.model.spectra import SPECTRA, AnySpectrum
from gammasky.engine.model.templates import TEMPLATES, AnyTemplate, FunctionTemplate, MapTemplate, read_source
from gammasky.engine.model.templates.field import HarmonicField, KernelField
from gammasky.engine.model.terms.base import TERMS, AnyTerm
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.schema import Schema, validated


class PerBin(Schema):
    """One norm for each energy bin.

    Args:
        per_bin [counts per pixel]: mean over the region of interest in each energy bin: a parameter, which has as many
            elements, or a list with a number, the name of a parameter or an expression for each bin.
    """

    per_bin: str | Annotated[tuple[Value, ...], Field(min_length=1)]

    def uses(self, where: str) -> Iterator[Use]:
        """Every place of a parameter in it."""
        if isinstance(self.per_bin, str):
            yield Use(self.per_bin, f"{where}, norm per bin", per_bin=True)
        else:
            yield from _uses_of_scales(f"{where}, norm per bin", "norm", self.per_bin)

    def values(self, theta: Parameters) -> jax.Array:
        """The norms (E,)."""
        if isinstance(self.per_bin, str):
            return theta[self.per_bin]
        return jnp.stack([value_of(value, theta) for value in self.per_bin])

    def require_bins(self, where: str, n_bins: int) -> None:
        """Refuse another number of norms than there are energy bins.

        Raises:
            InputError: says `where`.
        """
        if not isinstance(self.per_bin, str) and len(self.per_bin) != n_bins:
            raise InputError(
                f"{where}: per_bin: expected {n_bins} norms, one for each energy bin, got {len(self.per_bin)}"
            )


def _uses_of_scales(where: str, key: str, values: Iterable[Any]) -> Iterator[Use]:
    """The uses in norms and amplitudes: an expression must not make one negative; the prior of a parameter may."""
    for value in values:
        alone = is_name(value) or not isinstance(value, str)
        yield from uses_of(where, value, least=-math.inf if alone else 0.0, what=key)


def total_norm(norm: Value | PerBin, theta: Parameters) -> jax.Array:
    """Mean counts per pixel in all energy bins together."""
    return jnp.sum(norm.values(theta)) if isinstance(norm, PerBin) else value_of(norm, theta)


class Component(Schema):
    """One component of the sky. With `source_counts` or `luminosity` it is a population of point sources, otherwise
    smooth.

    In a data set of several energy bins a component is seen in all of them.

    Args:
        name: name of the component, unlike all others.
        template: shape on the sky: the name of a map of the data set, or a table that describes a template.
        norm [counts per pixel]: mean over the region of interest, in all energy bins together; a number, the name of a
            parameter, an expression of parameters such as "F * (1 - f)", or for smooth components a table with one
            norm for each bin.
        amplitude [sources per pixel per count]: for populations in place of `norm`: dN/dS at the highest break, or on a
            source grid of fluxes dN/dF, per cm^-2 s^-1; with `luminosity` the number of sources in all of space.
        source_counts: the source-count function dN/dS of a population, or dN/dF on a source grid of fluxes.
        luminosity: in place of `source_counts`: the luminosity function of a population whose template is the density
            of its sources in space.
        exposure: "auto" brings a template to what the component needs (smooth: intensity maps and analytic profiles
            times the relative exposure; point sources: counts maps divided by it); "as_is" leaves it.
        group: components of one physical origin, smooth and not, have one group: the point-source fraction is its
            sources' part of its flux.
        spectrum: how the photons are shared out among the energy bins; without one, smooth components follow maps that
            the data set has for each bin. Populations of point sources have one or two different ones between them.
    """

    name: str
    template: AnyTemplate
    norm: Value | PerBin | None = None
    amplitude: Value | None = None
    source_counts: AnySourceCounts | None = None
    luminosity: AnyLuminosity | None = None
    exposure: Literal["auto", "as_is"] = "auto"
    group: str = ""
    spectrum: AnySpectrum | None = None

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Without what is not there: a model without spectra or luminosities is written, and identified, as ever."""
        optional = ("spectrum", "luminosity")
        return {name: value for name, value in handler(self).items() if name not in optional or value is not None}

    @property
    def of_sources(self) -> bool:
        """Whether it is a population of point sources."""
        return self.source_counts is not None or self.luminosity is not None

    @model_validator(mode="after")
    def _one_spectrum(self) -> Self:
        if self.source_counts is not None and self.luminosity is not None:
            raise ValueError(
                f"component '{self.name}': a luminosity function makes the source counts; leave one of luminosity and "
                "source_counts out"
            )
        if isinstance(self.norm, PerBin) and self.of_sources:
            raise ValueError(f"component '{self.name}': per_bin is for smooth emission; point sources need a spectrum")
        if isinstance(self.norm, PerBin) and self.spectrum is not None:
            raise ValueError(f"component '{self.name}': norms per bin are a spectrum already; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if self.source_counts is not None and self.source_counts.absolute:
            if self.amplitude is not None:
                raise ValueError(f"component '{self.name}': the values of a free dN/dS are its amplitude; leave it out")
            return self
        if (self.norm is None) == (self.amplitude is None):
            raise ValueError(f"component '{self.name}' needs either norm or amplitude")
        if self.amplitude is not None and not self.of_sources:
            raise ValueError(f"component '{self.name}': amplitude is for point sources; use norm")
        return self

    def uses(self) -> Iterator[Use]:
        """Every place of a parameter in the component.

        Raises:
            InputError: a fixed number that makes no sense.
        """
        where = f"component '{self.name}'"
        if isinstance(self.norm, PerBin):
            yield from self.norm.uses(where)
        for key, value in (("norm", self.norm), ("amplitude", self.amplitude)):
            yield from _uses_of_scales(f"{where}, {key}", key, [value])
        if self.spectrum is not None:
            yield from self.spectrum.uses(f"{where}, spectrum")
        if self.source_counts is not None:
            yield from self.source_counts.uses(where)
        if self.luminosity is not None:
            yield from self.luminosity.uses(where)
        yield from self.template.uses(where)


class SourceGrid(Schema):
    """Grid on which source-count functions live: logarithmic, from one end to the other; no source lies outside.

    It is one of source counts S, or one of fluxes F in all energy bins together: then breaks, nodes and amplitudes are
    in units of flux, too, and the fit is by the joint likelihood of all bins.

    Args:
        min, max [counts]: the lowest and the highest S.
        nodes: how many points it has.
        flux_min, flux_max [cm^-2 s^-1]: in place of `min` and `max`: the lowest and the highest F.
    """

    min: Annotated[float, Field(gt=0)] = 0.1
    max: Annotated[float, Field(gt=0)] = 100.0
    nodes: Annotated[int, Field(ge=10, le=100_000)] = 1000
    flux_min: Annotated[float, Field(gt=0)] | None = None
    flux_max: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _order(self) -> Self:
        if (self.flux_min is None) != (self.flux_max is None):
            raise ValueError("flux_min and flux_max belong together; give both")
        if self.in_flux and {"min", "max"} & self.model_fields_set:
            raise ValueError("min and max are counts, flux_min and flux_max fluxes; give one pair")
        low, high, _ = self.limits
        if low >= high:
            kind = "flux_" if self.in_flux else ""
            raise ValueError(f"{kind}min must be below {kind}max, got {kind}min={low:g}, {kind}max={high:g}")
        return self

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Only the ends that count."""
        others = ("min", "max") if self.in_flux else ("flux_min", "flux_max")
        return {name: value for name, value in handler(self).items() if name not in others}

    @property
    def in_flux(self) -> bool:
        """Whether it is a grid of fluxes."""
        return self.flux_min is not None

    @property
    def limits(self) -> Limits:
        """The first and the last node, and their unit."""
        if self.flux_min is not None and self.flux_max is not None:
            return Limits(self.flux_min, self.flux_max, "cm^-2 s^-1")
        return Limits(self.min, self.max)

    def points(self) -> NDArray[np.float64]:
        """The nodes (S,): counts at the reference exposure, or fluxes [cm^-2 s^-1]."""
        return np.geomspace(self.limits.low, self.limits.high, self.nodes)


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
        return [component for component in self.components if not component.of_sources]

    @property
    def populations(self) -> list[Component]:
        """The components that are populations of point sources."""
        return [component for component in self.components if component.of_sources]

    @property
    def maps(self) -> set[str]:
        """Names of the maps of the data set that components take as templates."""
        leaves = [leaf for component in self.components for leaf in component.template.leaves()]
        return {leaf.map for leaf in leaves if isinstance(leaf, MapTemplate)}

    @property
    def functions(self) -> list[FunctionTemplate]:
        """The templates that are Python functions of a file."""
        leaves = [leaf for component in self.components for leaf in component.template.leaves()]
        return [leaf for leaf in leaves if isinstance(leaf, FunctionTemplate)]


def _known_fields() -> frozenset[str]:
    """Every key that a model file may hold, for the nearest match of one that is unknown."""
    kinds: list[type[BaseModel]] = [ModelSpec, Component, PerBin, SourceGrid, RegionOfInterest]
    kinds += [KernelField, HarmonicField]
    for registry in (PRIORS, SOURCE_COUNTS, LUMINOSITIES, SPECTRA, TEMPLATES, TERMS):
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
    table = read_toml(path)
    components = table.get("components")
    for component in components if isinstance(components, list) else []:
        if not isinstance(component, dict):
            continue
        read_source(component.get("template"), path.parent)
        spectrum = component.get("spectrum")
        of_file = spectrum.get("table") if isinstance(spectrum, dict) else None
        if isinstance(of_file, dict) and isinstance(of_file.get("file"), str):
            of_file["file"] = str(path.parent / of_file["file"])  # as the model file means it
    return model_from_table(table, str(path))


def model_from_table(table: dict[str, Any], where: str = "model") -> ModelSpec:
    """A model from a table like the TOML file's.

    Raises:
        InputError: one line with `where`, the field and the remedy.
    """
    return validated(ModelSpec, table, where, _known_fields())
