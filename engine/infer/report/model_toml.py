"""A model written as the TOML that `gammasky fit` reads."""

from __future__ import annotations

from typing import Any

from gammasky.engine.model.spec import ModelSpec


def model_toml(spec: ModelSpec) -> str:
    """The model as TOML; settings at their defaults are left out, and reading the text gives the same model."""
    import tomli_w

    return tomli_w.dumps(_without_none(spec.model_dump(mode="json", exclude_defaults=True)))


def _without_none(value: Any) -> Any:
    """TOML knows no null: what is None is its default."""
    if isinstance(value, dict):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_none(entry) for entry in value]
    return value
