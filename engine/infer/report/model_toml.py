"""A model written as the TOML that `gammasky fit` reads."""

from __future__ import annotations

import json
from typing import Any

from gammasky.engine.model.spec import ModelSpec

TABLES = ("region", "source_grid")


def model_toml(spec: ModelSpec) -> str:
    """The model as TOML; settings at their defaults are left out, and reading the text gives the same model."""
    table = _without_none(spec.model_dump(mode="json", exclude_defaults=True))
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if isinstance(value, str)]
    for name in TABLES:
        if table.get(name):
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_value(value)}" for key, value in table[name].items())]
    lines += ["", "[parameters]", *(f"{_key(key)} = {_value(value)}" for key, value in table["parameters"].items())]
    for component in table["components"]:
        lines += ["", "[[components]]", *(f"{_key(key)} = {_value(value)}" for key, value in component.items())]
    return "\n".join(lines) + "\n"


def _without_none(value: Any) -> Any:
    """TOML knows no null: what is None is its default."""
    if isinstance(value, dict):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_none(entry) for entry in value]
    return value


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _value(name)


def _value(value: Any) -> str:
    """An inline value. A JSON string is a TOML string but for DEL, which TOML wants escaped."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)
