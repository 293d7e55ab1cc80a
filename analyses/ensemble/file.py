"""The file of an ensemble: a base model and dataset, axes of choices, how they combine, how each member is fitted."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from gammasky.analyses.ensemble.fixed import fixed
from gammasky.distributed.member import Resources
from gammasky.distributed.tuning.sampling import NO_PRUNER, PRUNERS, SAMPLERS
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.files import named_file, read_toml, shipped_files
from gammasky.engine.infer.settings import MAX_SEED
from gammasky.engine.infer.settings import Settings as FitSettings
from gammasky.engine.model.spec import presets
from gammasky.engine.sky.manifest import shipped_manifests
from gammasky.engine.sky.schema import Schema, first_problem, validated

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")
Axes = dict[str, list[Any] | dict[str, Any]]


def listed_choices(axis: Any) -> list[Any]:
    """The choices of a built-in axis that are listed in a file, as a list or as the `values` of a table."""
    values = axis.get("values") if isinstance(axis, Mapping) else axis
    return values if isinstance(values, list) else []


class Sample(Schema):
    """Random members of the product, each at most once.

    Args:
        sample: how many.
    """

    sample: Annotated[int, Field(ge=1)]


def _names(value: Any) -> Any:
    """One name as a list of one."""
    return [value] if isinstance(value, str) else value


def _known_name(kind: str, known: Collection[str]) -> AfterValidator:
    """Refuses a name that is none, with the nearest that is one."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(str(unknown_name(kind, value, known)))
        return value

    return AfterValidator(check)


_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Names = Annotated[list[str], BeforeValidator(_names), WithJsonSchema(_NAMES_SCHEMA)]


class Sweep(Schema):
    """What a search along the axes is for.

    Args:
        minimise, maximise: columns of a fit's row, such as `ps_fraction` or `fit_seconds`; none: log_z is maximised.
        constraints: what a trial must meet, such as "reliable" or "log_z >= best - 5".
        sampler: how trials are chosen; pruner: how they are ended early, of variational fits to the likelihood itself.
        trials: number of trials in all.
        at_once: how many of them are chosen before the results of each other are known.
    """

    minimise: Names = Field(default_factory=list)
    maximise: Names = Field(default_factory=list)
    constraints: Names = Field(default_factory=list)
    sampler: Annotated[str, _known_name("sampler", SAMPLERS)] = "tpe"
    pruner: Annotated[str, _known_name("pruner", PRUNERS)] = NO_PRUNER
    trials: Annotated[int, Field(ge=1)] = 30
    at_once: Annotated[int, Field(ge=1, le=1000)] = 8


class Override(Schema):
    """Other resources for members that make some choices.

    Args:
        when: axis -> choice, or list of choices, that a member must have made.
        cpus: threads of such a member.
        gpus: 1, or the part of one that several members share; 0: none.
        accelerator: kind of the GPU by Ray's name for it.
        memory_gb [GB]: memory that a scheduler reserves.
        hours [h]: time limit of one attempt; 0: none.
    """

    when: Annotated[dict[str, Any], Field(min_length=1)]
    cpus: int | None = None
    gpus: float | None = None
    accelerator: str | None = None
    memory_gb: float | None = None
    hours: float | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What is other."""
        return self.model_dump(include=self.model_fields_set - {"when"})


def sweep_of(ensemble: EnsembleFile, given: Mapping[str, Any]) -> Sweep:
    """What a search along the axes is for: as given here where it is not None, else as the file says.

    An objective that is given takes the place of all in the file.

    Raises:
        InputError: a name that is none, a number out of range.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    table = ensemble.sweep.model_dump()
    if asked.keys() & {"minimise", "maximise"}:
        table |= {"minimise": [], "maximise": []}
    return validated(Sweep, {**table, **{name: _as_list(value) for name, value in asked.items()}}, "sweep")


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def known_fields(kind: type, what: str) -> BeforeValidator:
    """Refuses keys that a table of settings does not have, with the nearest that it has."""

    def check(value: Any) -> Any:
        names = [entry.name for entry in fields(kind)]
        for name in value if isinstance(value, Mapping) else ():
            if name not in names:
                raise ValueError(str(unknown_name(what, name, names)))
        return value

    return BeforeValidator(check)


def _fit_settings(value: Any) -> FitSettings:
    """A table of settings, or settings as they are."""
    if isinstance(value, FitSettings):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a table of settings of a fit, got {value!r}")
    if "seed" in value:
        raise ValueError("the seed is that of all fits: move `seed` out of `fit`")
    return FitSettings(**value)


def as_asked(settings: FitSettings) -> dict[str, Any]:
    """The method and what was asked for of its settings, without the seed; their defaults may hang on each other."""
    return {"method": settings.method, **dict(settings.options)}


FitTable = Annotated[FitSettings, PlainValidator(_fit_settings), PlainSerializer(as_asked)]


def _known_combination(value: Any) -> Any:
    """Says all ways to combine at once; pydantic would tell of the first that does not fit."""
    if value in ("product", "list") or isinstance(value, Sample):
        return value
    if isinstance(value, Mapping) and list(value) == ["sample"]:
        number = value["sample"]
        if isinstance(number, int) and not isinstance(number, bool) and number >= 1:
            return value
    raise ValueError(f"expected 'product', 'list' or {{ sample = N }} with N of at least 1, got {value!r}")


def beside(place: Path, name: str) -> str:
    """The file or folder `name` in `place`, if it is there; shipped names and others as they are."""
    path = place / name
    return str(path) if path.exists() and name not in {**presets(), **shipped_manifests()} else name


class EnsembleFile(Schema):
    """What the file of an ensemble holds.

    Args:
        name: name of the ensemble.
        description: free text.
        model: base model: a preset's name, or a file (from the ensemble's folder).
        data: dataset: a name, or a folder or manifest (from the ensemble's folder); data_dir: folder of its files.
        seed: seed of the fits and of a sample.
        combine: "product" of the axes, "list" of members, or {sample = n} members of the product.
        axes: name -> list of choices of a built-in axis (see `axes.BUILT_IN`), or a table of choices of the user's own,
            each a table of changes of the model (see `patched`); or the table of a range or of values (`AxisTable`).
        members: the members of a list: tables axis -> choice; an axis that one leaves out is as in the base model.
        fit: settings of the fits; resources: what each of them is given; its `overrides` are a list of `Override`.
        sweep: what a search along the axes is for; a campaign has no use for it.

    Raises:
        InputError: anything that cannot be used, in one line.
    """

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    description: str = ""
    model: str = "fiducial"
    data: str = "fermi"
    data_dir: str | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    combine: Annotated[Literal["product", "list"] | Sample, BeforeValidator(_known_combination)] = "product"
    axes: Annotated[Axes, AfterValidator(fixed)] = Field(default_factory=dict)
    listed: Annotated[list[dict[str, Any]], AfterValidator(fixed)] = Field(default_factory=list, alias="members")
    fit: FitTable = FitSettings()
    resources: Annotated[Resources, known_fields(Resources, "resource")] = Resources()
    sweep: Sweep = Sweep()
    _place: Path = PrivateAttr(default_factory=Path.cwd)
    _overrides: tuple[Override, ...] = PrivateAttr(default=())

    def __init__(self, **settings: Any) -> None:
        resources, overrides = settings.get("resources"), []
        if isinstance(resources, Mapping) and "overrides" in resources:
            overrides = resources["overrides"]
            settings["resources"] = {name: value for name, value in resources.items() if name != "overrides"}
        try:
            super().__init__(**settings)
            self._overrides = read_overrides(overrides, self.resources)
        except ValidationError as error:
            known = (frozenset(type(self).model_fields) - {"listed"}) | {"members"} | frozenset(Sweep.model_fields)
            raise InputError(f"ensemble: {first_problem(error, known, settings)}") from None

    @model_validator(mode="after")
    def _combination(self) -> Self:
        for axis in dict.fromkeys([*self.axes, *(axis for member in self.listed for axis in member)]):
            if not NAME.fullmatch(axis):
                raise ValueError(f"axis {axis!r:.60}: expected a name of letters, digits and _ . - only; rename it")
        if self.listed and self.combine != "list":
            raise ValueError("[[members]] are of combine = 'list'; set that, or remove them")
        return self

    @classmethod
    def read(cls, name_or_path: str | Path) -> Self:
        """The ensemble of a file, or the shipped one of that name.

        Raises:
            InputError: unknown name, no TOML file, or something in it that cannot be used; names the file.
        """
        path = named_file("ensemble", str(name_or_path), shipped())
        return cls.of(read_toml(path), str(path), path.absolute().parent)

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str, place: Path) -> Self:
        """The ensemble of a table whose files are named from the folder `place`.

        Raises:
            InputError: something in it that cannot be used; names `where` it stands.
        """
        try:
            ensemble = cls(**table)
        except InputError as error:
            raise InputError(f"{where}: {str(error).removeprefix('ensemble: ')}") from None
        ensemble._place = place
        return ensemble

    @property
    def overrides(self) -> tuple[Override, ...]:
        """Resources of members that make some choices, in order: a later one goes before an earlier one."""
        return self._overrides

    def beside(self, name: str) -> str:
        """A file or folder that the ensemble names, from its own folder; shipped names and others as they are."""
        return beside(self._place, name)

    def _placed(self, sky: Any) -> Any:
        """A choice of the axis `sky`, its data by their whole path."""
        entry = {"name": sky, "data": sky} if isinstance(sky, str) else sky
        if not (isinstance(entry, dict) and isinstance(entry.get("data"), str)):
            return sky
        placed = self.beside(entry["data"])
        return sky if placed == sky else {**entry, "data": placed}

    def manifest(self, data_dir: Path | str | None = None) -> dict[str, Any]:
        """The ensemble as plain JSON that `Ensemble(**manifest)` takes anywhere: its files by their whole paths.

        Args:
            data_dir: where its data are, if they have moved.
        """
        plain = self.model_dump(mode="json", by_alias=True)
        if self._overrides:
            plain["resources"]["overrides"] = [{"when": o.when, **o.changes} for o in self._overrides]
        plain |= {name: self.beside(plain[name]) for name in ("model", "data", "data_dir") if plain[name]}
        listed = listed_choices(plain["axes"].get("sky", []))
        names = [entry.get("name") if isinstance(entry, dict) else entry for entry in listed]
        listed[:] = map(self._placed, listed)
        for member in plain["members"]:
            if "sky" in member and member["sky"] not in names:
                member["sky"] = self._placed(member["sky"])
        return plain if data_dir is None else {**plain, "data_dir": str(Path(data_dir).resolve())}


def read_overrides(given: Any, usual: Resources) -> tuple[Override, ...]:
    """The overrides of resources.

    Raises:
        InputError: no list of tables, or resources that cannot be meant.
    """
    if not isinstance(given, list):
        raise InputError(f"resources: overrides: expected a list of tables, [[resources.overrides]], got {given!r:.60}")
    found = []
    for number, table in enumerate(given):
        where = f"resources: override {number + 1}"
        if not isinstance(table, Mapping):
            raise InputError(f"{where}: expected a table, got {table!r:.60}")
        found.append(validated(Override, table, where))
        try:
            replace(usual, **found[-1].changes)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return tuple(found)


def shipped() -> dict[str, Path]:
    """The ensembles that come with the package: name -> TOML file."""
    return shipped_files("gammasky.analyses", "ensembles")
