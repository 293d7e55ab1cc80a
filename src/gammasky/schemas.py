"""JSON schemas of the files that people write, made from the classes that read them and from their docstrings.

Editors complete and check TOML with them (`#:schema model.schema.json` in the first line of a file), and the reference
of the documentation is made of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gammasky.analyses.ensemble.axes import BUILT_IN
from gammasky.analyses.ensemble.file import EnsembleFile, Override
from gammasky.analyses.ensemble.numbers import AxisTable
from gammasky.analyses.studies.study import Study
from gammasky.engine.errors import unknown_name
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.option import Option
from gammasky.engine.infer.settings import METHOD
from gammasky.engine.model.luminosity import LUMINOSITIES
from gammasky.engine.model.priors import PRIORS
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.source_counts import SOURCE_COUNTS
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.spectra import SPECTRA
from gammasky.engine.model.templates import TEMPLATES
from gammasky.engine.model.terms.base import TERMS
from gammasky.engine.sky.manifest import Manifest, OtherCounts
from gammasky.engine.sky.recipes.recipe import ONLY_GEOMETRY, Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The kinds of files, and the classes that one of them is read as.
FILES: dict[str, tuple[type[BaseModel], ...]] = {
    "model": (ModelSpec,),
    "dataset": (Manifest, OtherCounts),
    "recipe": (Recipe,),
    "ensemble": (EnsembleFile,),
    "study": (Study,),
}
#: The base classes of what is registered by name, and the registries: a file holds one of the registered classes.
REGISTRIES: dict[str, Registry[Any]] = {
    "Template": TEMPLATES, "SourceCounts": SOURCE_COUNTS, "Luminosity": LUMINOSITIES, "Spectrum": SPECTRA,
    "PriorKind": PRIORS, "TermKind": TERMS,
}  # fmt: skip
#: What keys say of their unit by the end of their name, where their docstring does not say it.
UNITS = {
    "_deg": "deg", "_gev": "GeV", "_cm2_s": "cm^-2 s^-1", "_s": "s", "_kpc": "kpc", "_gb": "GB", "_rad": "rad",
}  # fmt: skip
_SECTION = re.compile(r"^(Args|Attributes):\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)
_NAMES = r"(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?(?: \[(?P<unit>[^]]*)\])?: "
_ENTRY = re.compile(rf"^ {{4}}{_NAMES}", re.MULTILINE)
_NEXT = re.compile(rf"; {_NAMES}")

Table = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What the docstring of a class says of one of its keys.

    Attributes:
        text: its meaning.
        unit: of its value; empty where it has none.
    """

    text: str
    unit: str = ""


def keys_of(kind: type) -> dict[str, Key]:
    """The meaning of the keys of a class, from `Args` or `Attributes` in its docstring and in those of its bases."""
    known = {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}
    known |= {info.alias for info in getattr(kind, "model_fields", {}).values() if info.alias}
    found: dict[str, Key] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "") + "\n"
        for section in _SECTION.finditer(text):
            found |= dict(_entries(section.group(2), known))
    return found


def _entries(section: str, known: set[str]) -> Iterator[tuple[str, Key]]:
    """Each entry of a section `Args`, also those that share a line: `skies: how many; seed: of all random numbers`."""
    starts = list(_ENTRY.finditer(section))
    ends = [match.start() for match in starts[1:]] + [len(section)]
    for start, end in zip(starts, ends, strict=True):
        whole = " ".join(section[start.start() : end].split())
        heads = [match for match in [re.match(_NAMES, whole), *_NEXT.finditer(whole)] if match]
        heads = [head for head in heads if set(head["names"].split(", ")) <= known]
        stops = [*(head.start() for head in heads[1:]), len(whole)] if heads else []
        for head, stop in zip(heads, stops, strict=True):
            for name in head["names"].split(", "):
                unit = head["unit"] or next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
                yield name, Key(whole[head.end() : stop].rstrip(". ;"), unit)


def summary_of(kind: type) -> str:
    """The docstring of a class as far as it is prose: without the sections `Args`, `Attributes`, `Raises` and so on."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    return re.split(r"^\w+:\n", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


def json_schema(file: str) -> Table:
    """The JSON schema of a kind of file.

    Args:
        file: "model", "dataset", "recipe", "ensemble" or "study".

    Raises:
        InputError: another word; names the nearest that is one.
    """
    if file not in FILES:
        raise unknown_name("kind of file", file, FILES)
    tables = dict(_all_tables(file))
    roots = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in FILES[file]]
    schema: Table = {"$schema": DIALECT, "title": f"gammasky {file} file"}
    schema |= roots[0] if len(roots) == 1 else {"anyOf": roots}
    needed: list[str] = []
    _collect(roots, tables, needed)
    return {**schema, "$defs": {name: tables[name] for name in needed}}


def classes_of(file: str) -> dict[str, type]:
    """The classes behind the tables of a kind of file, by their names in its schema."""
    registered = [kind for registry in REGISTRIES.values() for kind in registry.kinds.values()]
    waiting: list[type] = [*FILES[file], *registered, AxisTable, Override]
    found: dict[str, type] = {}
    while waiting:
        kind = waiting.pop(0)
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += [part for name in _fields(kind) for part in _classes_in(_fields(kind)[name])]
    return found


def _fields(kind: type) -> dict[str, Any]:
    """The annotations of the keys of a class."""
    if issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    return dict(inspect.get_annotations(kind, eval_str=True))


def _classes_in(annotation: Any) -> Iterator[type]:
    """The classes with keys that stand anywhere in an annotation."""
    for part in getattr(annotation, "__args__", ()):
        yield from _classes_in(part)
    if inspect.isclass(annotation) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation


def _all_tables(file: str) -> Iterator[tuple[str, Table]]:
    """Every table that may stand in such a file, by the name of its class."""
    classes = classes_of(file)
    models = [(kind, "validation") for kind in classes.values() if issubclass(kind, BaseModel)]
    _, made = models_json_schema(models, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    for name, table in made["$defs"].items():
        if name in REGISTRIES:
            kinds = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in REGISTRIES[name].kinds.values()]
            bare = (
                [{"type": "string", "description": "the name of a map of the data set"}] if name == "Template" else []
            )
            yield name, {"anyOf": [*bare, *kinds]}
        else:
            described = _described(table, classes[name])
            if file == "recipe" and name == "RegionOfInterest":  # of which a recipe takes the cuts on positions only
                described["properties"] = {
                    key: entry for key, entry in described["properties"].items() if key not in ONLY_GEOMETRY
                }
            yield name, described
    yield "FitSettings", _fit_settings()


def _described(table: Table, kind: type) -> Table:
    """The schema of a table with the meaning of each key; what is not said in a file has no value null there."""
    keys = keys_of(kind)
    table = {**table, "description": summary_of(kind)}
    table["properties"] = {
        name: _property(entry, keys.get(name, Key(""))) for name, entry in table.get("properties", {}).items()
    }
    if kind is EnsembleFile:
        table["properties"] |= _of_ensembles(table["properties"])
    if kind is Study:
        table["properties"]["ensemble"] |= {"type": "object"}
    if kind.__name__ == "Resources":
        overrides = {"type": "array", "items": {"$ref": "#/$defs/Override"}}
        told = "other resources for members that make some choices; a later one goes before an earlier one"
        table["properties"]["overrides"] = {**overrides, "description": told}
    for name, entry in table["properties"].items():
        if name == "fit":
            table["properties"][name] = {"$ref": "#/$defs/FitSettings", "description": entry["description"]}
    return table


def _property(entry: Table, key: Key) -> Table:
    """The schema of one key."""
    entry = {name: value for name, value in entry.items() if name != "title"}
    if entry.get("default", 0) is None:
        del entry["default"]
    choices = [choice for choice in entry.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        entry = {**{name: value for name, value in entry.items() if name != "anyOf"}, **choices[0]}
    elif choices:
        entry["anyOf"] = choices
    unit = f" [{key.unit}]" if key.unit else ""
    return {**entry, "description": f"{key.text}{unit}"} if key.text else entry


def _of_ensembles(properties: Table) -> Table:
    """The keys of an ensemble that the classes leave open: axes are lists of choices, or tables."""
    axis: Table = {"anyOf": [{"type": "array"}, {"$ref": "#/$defs/AxisTable"}, {"type": "object"}]}
    axes = {**properties["axes"], "properties": dict.fromkeys(BUILT_IN, axis), "additionalProperties": axis}
    return {"axes": axes}


def _fit_settings() -> Table:
    """The settings of all methods of a fit, as a table `[fit]` has them."""
    properties: Table = {"method": _option(METHOD, [])}
    for method in METHODS.values():
        for name, option in method.options.items():
            owners = [other.name for other in METHODS.values() if name in other.options]
            properties.setdefault(name, _option(option, owners))
    told = "Settings of a fit: a method, and settings that it has."
    return {"type": "object", "description": told, "properties": properties, "additionalProperties": False}


def _option(option: Option, owners: list[str]) -> Table:
    """The schema of one setting of a method."""
    words = {int: "integer", float: "number", bool: "boolean", str: "string"}
    entry: Table = {"type": words[option.kind]}
    if option.choices:
        entry["enum"] = list(option.choices)
    if option.above is not None:
        entry["exclusiveMinimum"] = option.above
    limits = {"minimum": option.low, "maximum": option.high}
    if option.kind in (int, float) and option.above is None:
        entry |= {name: option.kind(value) for name, value in limits.items() if abs(value) < float("inf")}
    if option.default is not None:
        entry["default"] = option.default
    of = f" (method {', '.join(owners)})" if owners and set(owners) != set(METHODS) else ""
    default = f"; default: {option.default_text}" if option.default_text else ""
    return {**entry, "description": f"{option.help}{default}{of}"}


def _collect(node: Any, tables: dict[str, Table], found: list[str]) -> None:
    """Append the names of the tables that a part of a schema refers to, directly or not, in order."""
    if isinstance(node, list):
        for part in node:
            _collect(part, tables, found)
    elif isinstance(node, dict):
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if name and name not in found:
            found.append(name)
            _collect(tables[name], tables, found)
        for part in node.values():
            _collect(part, tables, found)
