"""The manifest of a campaign: what it runs, and the list of its members with a checksum."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gammasky.distributed.folder import Places
from gammasky.distributed.hold import Kind, read_content, write_content
from gammasky.distributed.member import Member
from gammasky.distributed.record import load_member
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

CAMPAIGN = Kind(
    "campaign",
    "gammasky campaign",
    2,
    begin="start one with `gammasky campaign run FILE`",
    go_on="go on with `gammasky campaign resume {folder}`",
)


@dataclass(frozen=True)
class Listed:
    """A member as the manifest lists it."""

    key: str
    name: str
    labels: dict[str, str]
    cost: float


@dataclass(frozen=True)
class Manifest:
    """What a campaign runs.

    Attributes:
        campaign: the caller's own description.
        members: may grow.
        software: the versions with which it began.
        identity: its own: a copy of it elsewhere, smaller or larger, has the same.
    """

    campaign: dict[str, Any]
    members: tuple[Listed, ...]
    software: dict[str, str] = field(default_factory=dict)
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def keys(self) -> set[str]:
        """The keys of the members."""
        return {member.key for member in self.members}


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
        if member.name in names.values():
            raise InputError(f"members: two are named '{member.name}'; give each its own name")
        names[key] = member.name
    return tuple(
        Listed(key, member.name, dict(member.labels), float(member.cost))
        for key, member in zip(names, members, strict=True)
    )


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a campaign.

    Raises:
        InputError: no campaign there, one of another version, or a manifest that is damaged.
    """
    return parsed(read_content(Path(folder), CAMPAIGN), str(folder))


def parsed(content: Mapping[str, Any], where: str) -> Manifest:
    """The manifest in a content; keys beside those that it needs are of no meaning here.

    Raises:
        InputError: it is damaged.
    """
    if content.get("sha256") != _checksum(content.get("members")):
        raise InputError(
            f"{where}: the manifest: its list of members does not match its checksum; start a new one elsewhere"
        )
    try:
        members = tuple(Listed(*(member[entry.name] for entry in fields(Listed))) for member in content["members"])
        return Manifest(content["campaign"], members, content["software"], content["identity"])
    except (KeyError, TypeError) as error:
        line = f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: the manifest: damaged ({line}); start a new one elsewhere") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    members = [vars(member) for member in manifest.members]
    about = {"identity": manifest.identity, "software": manifest.software}
    content = {**about, "campaign": manifest.campaign, "sha256": _checksum(members), "members": members}
    write_content(folder, CAMPAIGN, content)


def _checksum(members: Any) -> str:
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(folder: Path, stored: Manifest, members: Sequence[Listed], specs: Mapping[str, Any]) -> None:
    """Refuse to go on with other members than the campaign began with.

    Args:
        folder: of the campaign.
        stored: its manifest.
        members, specs: those that are asked for, and what they are fits of, by key.

    Raises:
        InputError: names the first that differs.
    """
    if stored.members == tuple(members):
        return
    _check_unchanged(folder, stored, members, specs)
    before, now = ({member.key: member.name for member in found} for found in (stored.members, members))
    gone = next((name for key, name in before.items() if key not in now), None)
    new = next((name for key, name in now.items() if key not in before), None)
    what = f"has '{gone}', which is not asked for" if gone else f"lacks '{new}'" if new else "lists them otherwise"
    raise InputError(f"{folder}: holds a campaign of other members: it {what}; start a new one in another folder")


def _check_unchanged(folder: Path, stored: Manifest, members: Sequence[Listed], specs: Mapping[str, Any]) -> None:
    """Refuse members that were fits of something else under the same names; say of what, if one of them is stored."""
    keys, files = {member.name: member.key for member in members}, Store(Places(folder).members)
    changed = [member for member in stored.members if keys.get(member.name, member.key) != member.key]
    if not changed:
        return
    done = next((member for member in changed if files.has(member.key)), None)
    name, what = changed[0].name, "it is a fit of another model, of other data or with other settings"
    if done:
        name, what = done.name, difference(load_member(folder, done.key).spec, specs[keys[done.name]])
    raise InputError(f"{folder}: '{name}' of the campaign there has changed: {what}; start a new one in another folder")


def difference(before: Any, now: Any, place: str = "") -> str:
    """The first thing in which two tables in tables differ; empty where they do not."""
    if before == now:
        return ""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = sorted(set(before) | set(now))
        name = next(name for name in names if before.get(name) != now.get(name))
        return difference(before.get(name), now.get(name), f"{place}.{name}" if place else name)
    return f"{place} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def grow(folder: Path, campaign: dict[str, Any], listed: Sequence[Listed], specs: Mapping[str, Any]) -> None:
    """Add the members that a campaign does not have yet to its manifest.

    Its description may change where all its members are asked for again, as with an axis of more choices.

    Raises:
        InputError: a campaign of other settings or data; names the first that differs.
    """
    stored, plain = read_manifest(folder), json.loads(json.dumps(campaign))
    _check_unchanged(folder, stored, listed, specs)
    had = {member.key for member in stored.members}
    if stored.campaign == plain:
        members = stored.members + tuple(member for member in listed if member.key not in had)
    elif had <= {member.key for member in listed}:
        members = tuple(listed)
    else:
        what = difference(stored.campaign, plain)
        raise InputError(f"{folder}: holds a campaign of other settings or data: {what}; choose another folder")
    if (grown := replace(stored, campaign=plain, members=members)) != stored:
        write_manifest(folder, grown)
