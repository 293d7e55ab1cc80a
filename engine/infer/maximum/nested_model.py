"""A nested model as a description of its own, for what needs one: its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.null import Null, norm_of, scales_only
from gammasky.engine.model.spec import ModelSpec, model_from_table


def nested_spec(spec: ModelSpec, null: Null) -> ModelSpec:
    """The model with numbers in place of the parameters that the null fixes, without what is not there.

    The prior of two parameters that are equal is that of the one that stays.

    Raises:
        InputError: a parameter whose name is that of something else, too.
    """
    zero = {name for name, value in null.fixed.items() if not np.any(value) and scales_only(spec, name)}
    table = spec.model_dump(mode="json", exclude_none=True)
    values = {**null.fixed, **null.tied}
    gone = {component.name for component in spec.components if norm_of(component) in zero}
    parts = {
        "components": [component for component in table["components"] if component["name"] not in gone],
        "terms": table["terms"],
    }
    for name in values:
        uses = [use for component in spec.components if component.name not in gone for use in component.uses()]
        uses += [use for term in spec.terms for use in term.uses()]
        if _count(parts, name) != sum(use.parameter == name for use in uses):
            raise InputError(f"parameter '{name}': something else in the model has this name, too; rename one of them")
    parameters = {
        name: prior for name, prior in table["parameters"].items() if name not in null.loose and name not in values
    }
    name = f"{spec.name} with {', '.join(null.texts)}"
    changed = {**table, **_replaced(parts, values), "parameters": parameters, "name": name}
    return model_from_table(changed, f"null of {spec.name}")


def _replaced(part: Any, values: Mapping[str, Any]) -> Any:
    """A table with the values of parameters in place of their names."""
    if isinstance(part, dict):
        return {key: entry if key in _NAMES else _replaced(entry, values) for key, entry in part.items()}
    if isinstance(part, list):
        return [_replaced(entry, values) for entry in part]
    return values.get(part, part) if isinstance(part, str) else part


def _count(part: Any, word: str) -> int:
    """How often a word stands in a table, names apart."""
    if isinstance(part, dict):
        return sum(_count(entry, word) for key, entry in part.items() if key not in _NAMES)
    if isinstance(part, list):
        return sum(_count(entry, word) for entry in part)
    return int(part == word)


_NAMES = ("name", "group")  # of components: texts that are no parameters
