"""Validated settings: unknown keys refused, and the first problem told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gammasky.engine.errors import InputError


class Settings(BaseModel):
    """Base of every table of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SettingsType = TypeVar("SettingsType", bound=BaseModel)


def validated(
    kind: type[SettingsType], values: Mapping[str, Any], where: str, known: frozenset[str] = frozenset()
) -> SettingsType:
    """`values` as a `kind`.

    Raises:
        InputError: anything that does not fit; one line with `where`, the field and the remedy.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, known | set(kind.model_fields))}") from None


def first_problem(error: ValidationError, known: frozenset[str]) -> str:
    """One line for the first problem of `error`; a misspelt key gets its nearest match among `known`."""
    problems = error.errors()
    detail = problems[0]
    field = ".".join(str(part) for part in detail["loc"]) or "settings"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), sorted(known), n=1, cutoff=0.5)
        return f"unknown field '{field}'" + (f"; did you mean '{near[0]}'?" if near else "") + more
    if detail["type"] == "missing":
        return f"field '{field}' is missing{more}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"field '{field}': {message[:1].lower()}{message[1:]}, got {detail['input']!r:.80}{more}"
