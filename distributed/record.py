"""The file of a finished member: the arrays of its result, and its row as JSON text among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.distributed.folder import Places
from gammasky.distributed.member import Result
from gammasky.distributed.runners.base import Job, Outcome
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

RECORD = "campaign_record"  # the name of that text


@dataclass
class Finished(Result):
    """A result, and what it is a fit of."""

    spec: dict[str, Any]


def save_record(places: Places, job: Job, arrays: Mapping[str, np.ndarray], outcome: Outcome) -> None:
    """Store a member with what it is a fit of, whole or not at all.

    Raises:
        InputError: arrays that cannot be stored.
        OSError: what the file system refused.
    """
    if RECORD in arrays:
        raise InputError(f"array '{RECORD}': the name is taken; choose another")
    about = {"row": outcome.row, "seconds": outcome.seconds, "attempts": outcome.attempts}
    text = json.dumps({**about, "spec": job.spec})  # not sorted: a spec may have an order that matters
    Store(places.members).save(job.key, {**arrays, RECORD: np.array(text)})


def load_record(places: Places, key: str) -> Outcome | None:
    """How a stored member ended; None where its file is not there, damaged, or of another release."""
    array = Store(places.members).load_one(key, RECORD)
    record = None if array is None else _read(array)
    return None if record is None else Outcome("done", record["row"], record["seconds"], record["attempts"])


def _read(array: np.ndarray) -> dict[str, Any] | None:
    """A record; None where it is none."""
    try:
        record = json.loads(str(array))
    except ValueError:
        return None
    kinds = {"row": dict, "spec": dict, "seconds": int | float, "attempts": int}
    is_one = isinstance(record, dict) and all(isinstance(record.get(name), kind) for name, kind in kinds.items())
    return record if is_one else None


def load_member(folder: Path | str, key: str) -> Finished:
    """What the file of a finished member holds.

    Raises:
        InputError: it is not there, or its file is damaged.
    """
    store = Store(Places(Path(folder)).members)
    arrays = store.load(key)
    record = _read(arrays.pop(RECORD)) if arrays and RECORD in arrays else None
    if arrays is None or record is None:
        what, how = ("damaged", " with `check=True`") if store.path(key).exists() else ("not there", "")
        raise InputError(f"{store.path(key)}: {what}; run `gammasky campaign resume {folder}`{how}")
    return Finished(arrays, record["row"], record["spec"])
