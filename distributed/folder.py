"""The folder of a campaign or a search: what lies where, and the small files in it.

- manifest.json     what is run; written once, before anything else, and only added to
- members/KEY.npz   the result of a member, or of a rung of a trial
- failed/KEY.json   why a member has none
- damaged/          files of members that could not be read back
- scratch/KEY/      checkpoints of what is under way
- running.json      who is at work, and how far: written once a second
- driver.json       what the driver last said; driver.lock: held while it lives
- results.csv       table of a campaign's results, made anew from members/ now and then
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from gammasky.distributed.runners.base import Outcome
from gammasky.engine.files import write_text


class Places:
    """Paths in such a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest, self.table = folder / "manifest.json", folder / "results.csv"
        self.members, self.failed, self.damaged = folder / "members", folder / "failed", folder / "damaged"
        self.scratch, self.running = folder / "scratch", folder / "running.json"
        self.driver, self.lock = folder / "driver.json", folder / "driver.lock"


def write_light(path: Path, text: str) -> None:
    """Write a file that readers never see half of; after a power cut it may be gone, and need not be there."""
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A small file of the driver's or a worker's; None where it is gone, or was torn by a power cut."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_failure(places: Places, key: str, name: str, outcome: Outcome) -> None:
    """Say in the folder why a member has no result."""
    about = {"name": name, "ending": outcome.ending, "attempts": outcome.attempts, "error": outcome.error}
    write_text(places.failed / f"{key}.json", json.dumps({**about, "traceback": outcome.trace}, indent=1))


def read_failure(places: Places, key: str) -> Outcome | None:
    """Why a member has no result; None where nothing is said."""
    said = read_json(places.failed / f"{key}.json")
    if said is None or not {"ending", "attempts", "error", "traceback"} <= said.keys():
        return None
    return Outcome(said["ending"], {}, 0.0, said["attempts"], said["error"], said["traceback"])
