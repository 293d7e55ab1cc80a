"""A nested model as a description of its own, for what needs one: its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.null import Null, absent
from gammasky.engine.model.expressions import names_in, substituted
from gammasky.engine.model.spec import ModelSpec, model_from_table


def nested_spec(spec: ModelSpec, null: Null) -> ModelSpec:
    """The model with numbers in place of the parameters that the null fixes, without what is not there.

    The prior of two parameters that are equal is that of the one that stays.

    Raises:
        InputError: a parameter whose name is that of something else, too.
    """
    table = spec.model_dump(mode="json", exclude_none=True)
    values = {**null.fixed, **null.tied}
    gone = absent(spec, null.fixed)
    parts = {
        "components": [component for component in table["components"] if component["name"] not in gone],
        "terms": table["terms"],
    }
    uses = [use for component in spec.components if component.name not in gone for use in component.uses()]
    uses += [use for term in spec.terms for use in term.uses()]
    used = {use.parameter for use in uses}  # also by parts that have no share: the evidence stays
    for name in values:
        if _count(parts, name) != sum(use.parameter == name for use in uses):
            raise InputError(f"parameter '{name}': something else in the model has this name, too; rename one of them")
    parameters = {name: prior for name, prior in table["parameters"].items() if name in used and name not in values}
    name = f"{spec.name} with {', '.join(null.texts)}"
    changed = {**table, **_replaced(parts, values), "parameters": parameters, "name": name}
    return model_from_table(changed, f"null of {spec.name}")


def _replaced(part: Any, values: Mapping[str, Any]) -> Any:
    """A table with the values of parameters in place of their names."""
    if isinstance(part, dict):
        return {key: entry if key in _NAMES else _replaced(entry, values) for key, entry in part.items()}
    if isinstance(part, list):
        return [_replaced(entry, values) for entry in part]
    if not isinstance(part, str):
        return part
    return values[part] if part in values else substituted(part, values)


def _count(part: Any, word: str) -> int:
    """How often a word stands in a table, names apart."""
    if isinstance(part, dict):
        return sum(_count(entry, word) for key, entry in part.items() if key not in _NAMES)
    if isinstance(part, list):
        return sum(_count(entry, word) for entry in part)
    if not isinstance(part, str):
        return 0
    return int(part == word or word in names_in(part))


_NAMES = ("name", "group")  # of components: texts that are no parameters
