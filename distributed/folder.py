"""The folder of a campaign: what lies where, its manifest, and how a new or a continued run takes hold of it.

- manifest.json     what is run, and the list of members with its checksum; written once, before anything else
- members/KEY.npz   the result of a member
- failed/KEY.json   why a member has none
- damaged/          files of members that could not be read back
- scratch/KEY/      checkpoints of members at work
- live/KEY.json     their progress
- driver.json       what the driver last said; driver.lock: held while it lives
- results.csv       table of results, made anew from members/ now and then
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.distributed.member import Member
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing

if TYPE_CHECKING:
    from gammasky.distributed.runners.base import Outcome

FORMAT, VERSION = "gammasky campaign", 1


@dataclass(frozen=True)
class Places:
    """Paths in a campaign's folder."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def members(self) -> Path:
        return self.folder / "members"

    @property
    def failed(self) -> Path:
        return self.folder / "failed"

    @property
    def damaged(self) -> Path:
        return self.folder / "damaged"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def live(self) -> Path:
        return self.folder / "live"

    @property
    def driver(self) -> Path:
        return self.folder / "driver.json"

    @property
    def lock(self) -> Path:
        return self.folder / "driver.lock"

    @property
    def table(self) -> Path:
        return self.folder / "results.csv"


@dataclass(frozen=True)
class Listed:
    """A member as the manifest lists it."""

    key: str
    name: str
    labels: dict[str, str]
    cost: float


@dataclass(frozen=True)
class Manifest:
    """What a campaign runs: the caller's own description, and its members."""

    campaign: dict[str, Any]
    members: tuple[Listed, ...]


def list_members(members: Sequence[Member]) -> tuple[Listed, ...]:
    """The members as they are listed.

    Raises:
        InputError: none, two of one name or one specification, a specification that is not JSON, a cost that is none.
    """
    if not members:
        raise InputError("members: expected at least one, got none")
    names: dict[str, str] = {}
    for member in members:
        if not 0 <= member.cost < float("inf"):
            raise InputError(f"member '{member.name}': expected a finite cost of at least 0 s, got {member.cost!r}")
        key = Store.key(member.spec)
        if key in names:
            raise InputError(f"members '{names[key]}' and '{member.name}' are the same fit; leave one out")
        names[key] = member.name
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise InputError(f"members: two are named '{twice}'; give each its own name")
    return tuple(
        Listed(key, member.name, dict(member.labels), float(member.cost))
        for key, member in zip(names, members, strict=True)
    )


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a campaign.

    Raises:
        InputError: no campaign there, one of another version, or a manifest that is damaged.
    """
    path = Places(Path(folder)).manifest
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: no campaign there; start one with `gammasky campaign run FILE`") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); start a new campaign in another folder") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: expected the manifest of a campaign, got something else")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: expected version {VERSION}, got {content.get('version')!r};"
            " continue it with the gammasky that began it, or start a new campaign in another folder"
        )
    if content.get("sha256") != _checksum(content.get("members")):
        raise InputError(f"{path}: its list of members does not match its checksum; start a new campaign elsewhere")
    return Manifest(content["campaign"], tuple(Listed(**member) for member in content["members"]))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    members = [vars(member) for member in manifest.members]
    content = {"format": FORMAT, "version": VERSION, "campaign": manifest.campaign, "sha256": _checksum(members)}
    with replacing(Places(folder).manifest) as temporary:
        temporary.write_text(json.dumps({**content, "members": members}, allow_nan=False), encoding="utf-8")


def _checksum(members: Any) -> str:
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(folder: Path, stored: Manifest, members: Sequence[Listed]) -> None:
    """Refuse to go on with other members than the campaign began with.

    Raises:
        InputError: names the first that differs.
    """
    if stored.members == tuple(members):
        return
    before, now = ({member.key: member.name for member in found} for found in (stored.members, members))
    gone = next((name for key, name in before.items() if key not in now), None)
    new = next((name for key, name in now.items() if key not in before), None)
    what = f"has '{gone}', which is not asked for" if gone else f"lacks '{new}'" if new else "lists them otherwise"
    raise InputError(f"{folder}: holds a campaign of other members: it {what}; start a new one in another folder")


def write_light(path: Path, text: str) -> None:
    """Write a file that readers never see half of; after a power cut it may be gone, and need not be there."""
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_failure(places: Places, key: str, name: str, outcome: Outcome) -> None:
    """Say in the campaign's folder why a member has no result."""
    about = {"name": name, "ending": outcome.ending, "attempts": outcome.attempts, "error": outcome.error}
    with replacing(places.failed / f"{key}.json") as temporary:
        temporary.write_text(json.dumps({**about, "traceback": outcome.trace}, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """A small file of the driver's or a worker's; None where it is gone, or was torn by a power cut."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None
