"""Validated settings: unknown keys refused, and the first problem told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Schema(BaseModel):
    """Base of every table of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SchemaType = TypeVar("SchemaType", bound=BaseModel)


def validated(
    kind: type[SchemaType], values: Mapping[str, Any], where: str, known: frozenset[str] = frozenset()
) -> SchemaType:
    """Check a table of values and make a `kind` of it.

    Raises:
        InputError: anything that does not fit; one line with `where`, the field and the remedy.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, known | set(kind.model_fields), values)}") from None


def first_problem(error: ValidationError, known: frozenset[str], values: Mapping[str, Any]) -> str:
    """Tell the first problem of `error` in a line, misspelt keys first; these get their nearest match among `known`."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    others = {_field(problem, values) for problem in problems} - {_field(problems[0], values)}
    return _problem(problems[0], known, values) + (f" (and {len(others)} more)" if others else "")


def _problem(problem: ErrorDetails, known: frozenset[str], values: Mapping[str, Any]) -> str:
    """Write one problem with its field and, where there is something to tell, what was got."""
    name = _field(problem, values)
    field = f"field '{name}'"
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), sorted(known), n=1, cutoff=0.5)
        return f"unknown {field}" + (f"; did you mean '{near[0]}'?" if near else "; remove it")
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "union_tag_invalid":
        told = problem["ctx"]
        choices = told["expected_tags"].replace("'", "").split(", ")
        return f"{field}: {unknown_name(told['discriminator'].strip(chr(39)), told['tag'], choices)}"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], Mapping) else f", got {problem['input']!r:.80}"
    return (f"{field}: " if name else "") + f"{message[:1].lower()}{message[1:]}{got}"


def _field(problem: ErrorDetails, values: Mapping[str, Any]) -> str:
    """Path of a problem's field as the user wrote it: entries of a list by name, and no names of alternatives."""
    here: Any = values
    parts = []
    for part, following in zip_longest(problem["loc"], problem["loc"][1:]):
        if isinstance(here, list) and isinstance(part, int):
            here = here[part]
            parts.append(str(here.get("name", part)) if isinstance(here, Mapping) else str(part))
        elif isinstance(here, Mapping) and part in here and not _is_alternative(here, part, following):
            here = here[part]
            parts.append(str(part))
    if problem["type"] == "missing":
        parts.append(str(problem["loc"][-1]))
    return ".".join(parts)


def _is_alternative(here: Mapping[str, Any], part: Any, following: Any) -> bool:
    """Whether `part` is an alternative that was tried, not the key of that name: what follows is beside that key."""
    inner = here[part]
    return following in here and not (isinstance(inner, Mapping) and following in inner)
