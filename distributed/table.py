"""The table of results, as Parquet and CSV: a cache of what the members' own files say."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gammasky.distributed.folder import Listed, Places, read_json, read_manifest
from gammasky.distributed.record import load_record
from gammasky.distributed.runners.base import Outcome
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing

OWN = ("key", "name", "state", "attempts", "wall_seconds", "error")  # columns that no row may have
AXIS = "axis."  # the column "axis.mask" has the labels of axis "mask"

Line = dict[str, Any]


def line_of(member: Listed, outcome: Outcome) -> Line:
    """A member's line of the table: state, labels and, if it is done, its row."""
    state = "done" if outcome.ending == "done" else "failed"
    own = {"key": member.key, "name": member.name, "state": state, "attempts": outcome.attempts}
    end: Line = {"wall_seconds": outcome.seconds} if state == "done" else {"error": outcome.error}
    return {**own, **end, **{f"{AXIS}{axis}": choice for axis, choice in member.labels.items()}, **outcome.row}


def columns_of(lines: Sequence[Line]) -> dict[str, list[Any]]:
    """The table by columns, each of one type: numbers, booleans or text; None where a line has no such value."""
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: _of_one_type([line.get(name) for line in lines]) for name in names}


def _of_one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2 and not any(isinstance(value, int) and abs(value) >= 2**63 for value in values):
        return values
    convert = float if kinds <= {int, float} else str
    return [None if value is None else convert(value) for value in values]


def write_table(places: Places, lines: Sequence[Line]) -> None:
    """Write both files of the table, each whole or not at all."""
    arrow, parquet = require_arrow()
    columns = columns_of(lines)
    with replacing(places.index) as temporary:
        parquet.write_table(arrow.table({name: arrow.array(values) for name, values in columns.items()}), temporary)
    with replacing(places.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def require_arrow() -> tuple[Any, Any]:
    """PyArrow, which writes Parquet.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("campaigns keep a Parquet table and need pyarrow: pip install pyarrow") from error
    return pyarrow, pyarrow.parquet


def read_rows(folder: Path | str) -> list[dict[str, Any]]:
    """All finished members of a campaign, in its order: `key`, `name`, `labels`, `state`, `attempts`, and their row.

    A member that is done has `wall_seconds` and the values of its row; one that failed has `error`. The table of the
    folder is used as far as it goes, and the members' own files for the rest.

    Raises:
        InputError: no campaign there, or one of another version.
    """
    manifest, places = read_manifest(folder), Places(Path(folder))
    index = _read_index(places)
    lines = [line for member in manifest.members if (line := _finished(places, member, index))]
    columns = columns_of(lines)
    return [_nested(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _finished(places: Places, member: Listed, index: Mapping[str, Line]) -> Line | None:
    if (places.members / f"{member.key}.npz").exists():
        if member.key in index:
            return index[member.key]
        if outcome := load_record(places, member.key):
            return line_of(member, outcome)
    failure = read_failure(places, member.key)
    return line_of(member, failure) if failure else None


def read_failure(places: Places, key: str) -> Outcome | None:
    """Why a member has no result; None where nothing is said."""
    said = read_json(places.failed / f"{key}.json")
    if said is None:
        return None
    return Outcome(said["ending"], {}, 0.0, said["attempts"], said["error"], said["traceback"])


def _read_index(places: Places) -> dict[str, Line]:
    """The lines of finished members in the table of the folder; none where it cannot be read."""
    arrow, parquet = require_arrow()
    try:
        lines: Iterable[Line] = parquet.read_table(places.index).to_pylist()
    except (FileNotFoundError, arrow.ArrowInvalid, OSError):  # a cache: the members' files say the same
        return {}
    return {
        line["key"]: {name: value for name, value in line.items() if value is not None}
        for line in lines
        if line.get("state") == "done"
    }


def _nested(line: Line) -> dict[str, Any]:
    """A line as people take it apart: labels by axis, and nothing that it does not have."""
    had = {name: value for name, value in line.items() if value is not None}
    labels = {name.removeprefix(AXIS): value for name, value in had.items() if name.startswith(AXIS)}
    return {**{name: value for name, value in had.items() if not name.startswith(AXIS)}, "labels": labels}
