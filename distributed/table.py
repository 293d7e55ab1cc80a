"""What the members of a campaign have come to: rows to read, and the table of them as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gammasky.distributed.folder import Places, read_failure
from gammasky.distributed.manifest import Listed, read_manifest
from gammasky.distributed.record import load_record
from gammasky.distributed.runners.base import Outcome
from gammasky.engine.files import replacing

OWN = ("key", "name", "labels", "state", "attempts", "wall_seconds", "error")  # names that no task's row may use
AXIS = "axis."  # the column "axis.mask" of a table has the labels of axis "mask"

Row = dict[str, Any]


def row_of(member: Listed, outcome: Outcome) -> Row:
    """What is known of a member that has ended.

    Its `key`, `name`, `labels` (by axis), `state` ("done" or "failed") and `attempts`; one that is done has
    `wall_seconds` and the row of its task, one that failed has `error`.
    """
    state = "done" if outcome.ending == "done" else "failed"
    end: Row = {"wall_seconds": outcome.seconds} if state == "done" else {"error": outcome.error}
    about = {"key": member.key, "name": member.name, "state": state, "attempts": outcome.attempts}
    return {**about, **end, "labels": dict(member.labels), **outcome.row}


def read_rows(folder: Path | str) -> list[Row]:
    """The rows of all members of a campaign that have ended, in its order; see `row_of`.

    Raises:
        InputError: no campaign there, or one of another version.
    """
    manifest, places = read_manifest(folder), Places(Path(folder))
    ended = ((member, _ended(places, member.key)) for member in manifest.members)
    return [row_of(member, outcome) for member, outcome in ended if outcome]


def _ended(places: Places, key: str) -> Outcome | None:
    return load_record(places, key) or read_failure(places, key)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all; `labels` become columns `axis.NAME`, and what a row lacks stays empty."""
    lines = [flat(row) for row in rows]
    columns = dict.fromkeys(name for line in lines for name in line)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


@contextmanager
def written_at_the_end(write: Callable[[], None]) -> Iterator[None]:
    """Have a table written when the body ends, however it does.

    A disk that has stopped the work is full for the table as well: what the body raised is what a user must read.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError):
            write()
        raise
    write()


def flat(row: Mapping[str, Any]) -> Row:
    """A row whose `labels` are columns `axis.NAME`."""
    line: Row = {}
    for name, value in row.items():
        line |= {f"{AXIS}{axis}": choice for axis, choice in value.items()} if name == "labels" else {name: value}
    return line
