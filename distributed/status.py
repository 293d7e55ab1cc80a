"""How far a campaign is: read from its folder, by anybody, also while its driver works."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from gammasky.distributed.folder import Places, read_json, write_light
from gammasky.distributed.hold import driver_alive
from gammasky.distributed.manifest import read_manifest
from gammasky.distributed.runners.base import Running

NUMBERS = {"elbo": ("ELBO", 1), "log_z": ("log Z", 1), "k_hat": ("k-hat", 2)}  # of a member: heading, decimals

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Ended:
    """A member that has ended: "done" or "failed", how long it took [s], and numbers of its row (or its error)."""

    name: str
    state: str
    seconds: float
    values: dict[str, float]
    error: str = ""


@dataclass(frozen=True)
class Status:
    """How far a campaign is.

    Attributes:
        total, done, failed: numbers of members.
        running: those at work; recent: those that ended last, the last one first.
        seconds_left: estimated; None where nobody works on it.
        driver: who does; empty where nobody.
    """

    total: int
    done: int
    failed: int
    running: tuple[Running, ...] = ()
    recent: tuple[Ended, ...] = ()
    seconds_left: float | None = None
    driver: str = ""

    @property
    def waiting(self) -> int:
        """Members that are neither finished nor at work."""
        return self.total - self.done - self.failed - len(self.running)


def status(folder: Path | str) -> Status:
    """How far the campaign in a folder is.

    Raises:
        InputError: no campaign there, or one of another version.
    """
    manifest, places = read_manifest(folder), Places(Path(folder))
    keys = {member.key for member in manifest.members}
    done = keys & _stems(places.members, ".npz")
    failed = (keys & _stems(places.failed, ".json")) - done
    if not driver_alive(places):
        return Status(len(keys), len(done), len(failed))
    said = read_json(places.driver) or {}
    ended = done | failed
    return Status(
        total=len(keys),
        done=len(done),
        failed=len(failed),
        running=tuple(member for member in read_running(places) if member.key in keys - ended),
        recent=tuple(read_entries(said, "recent", Ended)),
        seconds_left=said.get("seconds_left"),
        driver=f"process {said.get('pid', 'unknown')} on {said.get('host', 'an unknown host')}",
    )


def write_running(places: Places, members: Iterable[Running]) -> None:
    """Write down who is at work."""
    write_light(places.running, json.dumps({"running": [asdict(member) for member in members]}))


def read_running(places: Places) -> list[Running]:
    """The members at work, in the order of their names; none where nothing is said of them."""
    return read_entries(read_json(places.running), "running", Running)


def read_entries(said: dict[str, Any] | None, name: str, kind: type[Entry]) -> list[Entry]:
    """A list of entries that a driver has written down; none where it has not, or was of another release."""
    try:
        return [kind(**entry) for entry in (said or {}).get(name, [])]
    except TypeError:
        return []


def _stems(folder: Path, suffix: str) -> set[str]:
    """Names of the finished files of a folder, which may not be there yet."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix) and not name.startswith(".")}


def seconds_left(
    waiting_cost: float, running: Iterable[tuple[float, float]], done: tuple[float, float], slots: int
) -> float:
    """Time until the end [s].

    Args:
        waiting_cost: estimated time [s] of all members that wait.
        running: (estimated time [s], fraction that is done) of each at work.
        done: estimated and true time [s] of all that are done: their ratio corrects the estimates.
        slots: members at once.
    """
    pace = done[1] / done[0] if min(done) > 0 else 1.0
    left = [cost * (1.0 - min(max(fraction, 0.0), 1.0)) for cost, fraction in running]
    return pace * max((waiting_cost + sum(left)) / max(slots, 1), max(left, default=0.0))


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What the table of members shows of a row, where it is there."""
    return {name: float(row[name]) for name in NUMBERS if isinstance(row.get(name), int | float)}
