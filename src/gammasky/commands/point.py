"""Reading a parameter point: a JSON object, name -> number or list of numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError

Value = float | list[float]


def read_point(path: Path) -> dict[str, Value]:
    """Read a parameter file.

    Args:
        path: a JSON file such as `{"S_pib": 11.1, "theta_pib": [0.5, 0.3, 0.2]}`.

    Returns:
        Parameter name -> number or list of numbers.

    Raises:
        InputError: the file is missing, unreadable or damaged, names a parameter twice, or holds something other than
            finite numbers.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once_each)
    except OSError as error:
        raise InputError(
            f"parameter file '{path}': cannot be read ({error.strerror}); give a JSON file that is there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"parameter file '{path}': expected a JSON object, name -> number or list: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"parameter file '{path}': expected a JSON object, got {type(content).__name__}")
    return {name: _numbers(path, name, value) for name, value in content.items()}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict; JSON itself would let the last of two equal names win."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is given twice")
    return values


def _numbers(path: Path, name: str, value: Any) -> Value:
    """`value` as a float or a list of floats."""
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, int | float) or not _is_finite(entry):
            got = f"{json.dumps(entry):.60}"
            raise InputError(f"parameter file '{path}', '{name}': expected finite numbers, got {got}")
    return [float(entry) for entry in entries] if isinstance(value, list) else float(value)


def _is_finite(entry: int | float) -> bool:
    """Whether double precision can hold `entry`: JSON allows integers of any length."""
    try:
        return math.isfinite(entry)
    except OverflowError:
        return False
