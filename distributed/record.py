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
    """How a stored member ended; None where its file is not there or damaged."""
    array = Store(places.members).load_one(key, RECORD)
    if array is None:
        return None
    record = json.loads(str(array))
    return Outcome("done", record["row"], record["seconds"], record["attempts"])


def load_member(folder: Path | str, key: str) -> Finished:
    """What the file of a finished member holds.

    Raises:
        InputError: it is not there, or its file is damaged.
    """
    store = Store(Places(Path(folder)).members)
    arrays = store.load(key)
    if arrays is None or RECORD not in arrays:
        what, how = ("damaged", " with `check=True`") if store.path(key).exists() else ("not there", "")
        raise InputError(f"{store.path(key)}: {what}; run `gammasky campaign resume {folder}`{how}")
    record = json.loads(str(arrays.pop(RECORD)))
    return Finished(arrays, record["row"], record["spec"])
