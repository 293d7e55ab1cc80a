"""Changes of a model as a table: axes of one's own, and sets of priors."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from gammasky.analyses.ensemble.tables import Table
from gammasky.engine.errors import InputError, unknown_name

_SECTIONS = ("region", "source_grid", "parameters", "components", "remove")


def patched(table: Table, changes: Mapping[str, Any], where: str) -> Table:
    """The model with changes.

    Args:
        table: the model.
        changes: tables like those of the model file, components by name; a key may be a dotted path. What is given
            takes the place of one setting (`region.mask`), one prior (`parameters.S_iso`) or one field of a component
            (`components.psc.template`) as a whole; other names of parameters and components are added. `remove`: a
            list of names of components.
        where: how errors name the changes.

    Raises:
        InputError: a section that a model does not have, or a component that is not there.
    """
    table = deepcopy(table)
    for section, content in _nested(changes, where).items():
        if section not in _SECTIONS:
            raise InputError(f"{where}: {unknown_name('section of a model', section, _SECTIONS)}")
        if section == "remove":
            _remove(table, content, where)
        elif not isinstance(content, Mapping):
            raise InputError(f"{where}: field '{section}': expected a table, got {content!r:.60}")
        elif section == "components":
            for name, fields in content.items():
                _change_component(table, name, fields, where)
        else:
            table[section] |= deepcopy(dict(content))
    return table


def _nested(changes: Mapping[str, Any], where: str) -> Table:
    """Dotted paths as tables in tables."""
    nested: Table = {}
    for path, value in changes.items():
        *parents, last = path.split(".")
        here = nested
        for parent in parents:
            here = here.setdefault(parent, {})
            if not isinstance(here, dict):
                raise InputError(f"{where}: '{path}' is inside something that is given as a whole; give it once")
        here[last] = _both(here.get(last), value)
    return nested


def _both(old: Any, new: Any) -> Any:
    """Tables in tables put together, as tables that can be changed; anything else takes the place of what was there."""
    if not isinstance(new, Mapping):
        return new
    known = old if isinstance(old, Mapping) else {}
    return {**known, **{name: _both(known.get(name), value) for name, value in new.items()}}


def _remove(table: Table, names: Any, where: str) -> None:
    if not isinstance(names, list):
        raise InputError(f"{where}: field 'remove': expected a list of components, got {names!r:.60}")
    known = [component["name"] for component in table["components"]]
    for name in names:
        if name not in known:
            raise InputError(f"{where}: {unknown_name('component', str(name), known)}")
    table["components"] = [component for component in table["components"] if component["name"] not in names]


def _change_component(table: Table, name: str, fields: Any, where: str) -> None:
    """Fields of a component, or a new component where they have a template and there is none of that name."""
    if not isinstance(fields, Mapping):
        raise InputError(f"{where}: field 'components.{name}': expected a table, got {fields!r:.60}")
    component = next((c for c in table["components"] if c["name"] == name), None)
    if component is not None:
        component |= deepcopy(dict(fields))
    elif "template" in fields:
        table["components"].append({"name": name, **deepcopy(dict(fields))})
    else:
        raise InputError(f"{where}: {unknown_name('component', name, [c['name'] for c in table['components']])}")


def with_priors(table: Table, priors: Mapping[str, Any]) -> Table:
    """The model with other priors; those of parameters that it does not have are left out."""
    table = deepcopy(table)
    table["parameters"] |= {name: deepcopy(prior) for name, prior in priors.items() if name in table["parameters"]}
    return table
