"""From the file of an ensemble to its members, each of them checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.axes import Choice, Known, Plan, ordered
from gammasky.analyses.ensemble.axis import Axis, condition, read_axes
from gammasky.analyses.ensemble.combine import AS_IN_THE_MODEL, combinations
from gammasky.analyses.ensemble.cost import estimated_seconds
from gammasky.analyses.ensemble.datasets import counts_checksum, data_identity, place_of
from gammasky.analyses.ensemble.file import EnsembleFile, as_asked, beside, listed_choices
from gammasky.analyses.ensemble.tables import Table, map_names
from gammasky.analyses.ensemble.task import FORMAT, N_DRAWS, EnsembleTask
from gammasky.distributed.manifest import list_members
from gammasky.distributed.member import Member, Resources
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model.latent import Latent
from gammasky.engine.model.parameters import parameter_labels
from gammasky.engine.model.spec import ModelSpec, model_from_table, read_model
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation


@dataclass(frozen=True)
class Size:
    """How large the fit of a member is."""

    n_pixels: int
    n_photons: int
    n_parameters: int


class Expansion:
    """The members of an ensemble, its task, and the sizes of its fits.

    Raises:
        InputError: when asked for what cannot be; names the axis, choice or member.
    """

    def __init__(self, ensemble: EnsembleFile) -> None:
        self.ensemble = ensemble
        self._model = ensemble.beside(ensemble.model)
        self._base = read_model(self._model)
        data_dir = ensemble.data_dir and ensemble.beside(ensemble.data_dir)
        self._skies = {name: place_of(data, data_dir) for name, data in self._named_skies().items()}
        self._flat: tuple[str, Observation] | None = None
        self._lit: set[str] = set()  # maps that are known to shine in a region
        self._sizes: dict[str, Size] = {}

    def _named_skies(self) -> dict[str, str]:
        """Name -> dataset: that of the ensemble, and those of the axis `sky`."""
        ensemble = self.ensemble
        skies = {ensemble.data: ensemble.beside(ensemble.data)}
        entries = [*listed_choices(ensemble.axes.get("sky", [])), *(e["sky"] for e in ensemble.listed if "sky" in e)]
        for entry in entries:
            if isinstance(entry, str) and entry in skies:  # a choice of the axis by its name
                continue
            name, data = (entry.get("name"), entry.get("data")) if isinstance(entry, dict) else (entry, entry)
            if not (isinstance(name, str) and isinstance(data, str)):
                continue  # which is refused when the choice is read
            if skies.setdefault(name, ensemble.beside(data)) != ensemble.beside(data):
                raise InputError(f"axis sky: '{name}' names two data sets; give each sky its own name")
        return skies

    @cached_property
    def task(self) -> EnsembleTask:
        """What fits a member."""
        places = tuple((counts_checksum(dataset), place) for place, dataset in self._skies.values())
        return EnsembleTask(places, beside(Path.cwd(), self._model))

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """The axes, each after those that it hangs on."""
        return read_axes(self.ensemble.axes, self._known)

    @cached_property
    def members(self) -> list[Member]:
        """Every member."""
        members = [self.member(choices) for choices in combinations(self.ensemble, self.axes, self._known)]
        list_members(members)  # refuses two of one name or of one fit
        return members

    def size(self, member: Member) -> Size:
        """How large the fit of a member is."""
        return self._sizes[member.name]

    @property
    def _known(self) -> Known:
        dataset = self._skies[self.ensemble.data][1]
        return Known(dataset.mask_names, dataset.template_names, list(self._base.parameters))

    def planned(self, choices: Mapping[str, Choice]) -> Plan:
        """The base with these choices made, in their order."""
        ensemble, model = self.ensemble, self._base.model_dump(mode="json")
        plan = Plan(model, ensemble.seed, ensemble.data, as_asked(ensemble.fit))
        for axis in ordered(list(choices)):
            plan = choices[axis].change(plan)
        return plan

    def member(self, choices: Mapping[str, Choice]) -> Member:
        """The member that makes these choices, checked; an axis without one is as in the base model.

        Raises:
            InputError: a model, fit or region that cannot be; names the member.
        """
        known = [*self.axes, *(axis for axis in choices if axis not in self.axes)]
        labels = {axis: choices[axis].label if axis in choices else AS_IN_THE_MODEL for axis in ordered(known)}
        name = self._name({axis: label for axis, label in labels.items() if axis in choices})
        try:
            plan = self.planned(choices)
            spec = self._checked(plan.model)
            check_parameter_names(spec)
            dataset = self._skies[plan.sky][1]
            data = data_identity(dataset, spec)
            pixels = self._flattened(plan.sky, spec, dataset)
            dimension = Latent(spec.parameters, parameter_labels(spec, dataset.energy_edges_gev)).n_latent
            settings = Settings(**plan.fit, seed=plan.seed)
        except InputError as error:
            raise InputError(f"member '{name}': {error}") from None
        self._sizes[name] = Size(pixels.n_fit, int(pixels.counts.sum()), dimension)
        identity = {
            "format": FORMAT,
            "model": {**spec.model_dump(mode="json"), "description": "", "reference": ""},
            "data": data,
            "fit": settings.resolved(),
            "draws": N_DRAWS,
        }
        seconds = estimated_seconds(settings, pixels, dimension, points=has_points(spec))
        return Member(name, identity, labels, seconds, self._resources(labels))

    def _resources(self, labels: Mapping[str, str]) -> Resources | None:
        """What a member with these labels is given, where an override says so."""
        found = self.ensemble.resources
        for when, changes in self._overrides:
            if all(labels.get(axis) in allowed for axis, allowed in when.items()):
                found = replace(found, **changes)
        return None if found == self.ensemble.resources else found

    @cached_property
    def _overrides(self) -> list[tuple[dict[str, tuple[str, ...]], dict[str, Any]]]:
        """The overrides of resources, their conditions by labels."""
        given = self.ensemble.overrides
        return [(condition("resources: when", entry.when, self.axes), entry.changes) for entry in given]

    def _name(self, labels: dict[str, str]) -> str:
        """The choices that are not the same for all members."""
        every = self.ensemble.combine == "list"
        varied = [axis for axis in labels if every or self.axes[axis].numbers or len(self.axes[axis].choices) > 1]
        return ",".join(f"{axis}={labels[axis]}" for axis in varied) or self.ensemble.name

    def _checked(self, table: Table) -> ModelSpec:
        """The model of a member; parameters of the base that nothing uses any more are dropped."""
        spec = model_from_table(table)
        for function in spec.functions:
            function.require_read()
        used = {use.parameter for component in spec.components for use in component.uses()}
        undeclared = sorted(used - spec.parameters.keys())
        if undeclared:
            raise unknown_name("parameter", undeclared[0], spec.parameters)
        idle = [name for name in spec.parameters if name in self._base.parameters and name not in used]
        kept = {name: prior for name, prior in table["parameters"].items() if name not in idle}
        return model_from_table({**table, "parameters": kept})

    def _flattened(self, sky: str, spec: ModelSpec, dataset: Dataset) -> Observation:
        """The pixels of a region, kept for the next member, which mostly has the same; every map shines in it."""
        region = json.dumps([sky, spec.region.model_dump(mode="json")])
        if self._flat is None or self._flat[0] != region:
            self._flat = (region, spec.region.flatten(dataset))
        pixels = self._flat[1]
        for name in (name for c in spec.components for name in map_names(c.model_dump()["template"])):
            if region + name not in self._lit:
                if not dataset.template_at(name, pixels.index)[: pixels.n_region].any():
                    raise InputError(f"template '{name}' is zero everywhere in the region of interest; leave it out")
                self._lit.add(region + name)
        return pixels


def has_points(spec: ModelSpec) -> bool:
    """Whether a model has point sources."""
    return any(component.of_sources for component in spec.components)
