"""Run a campaign: every member once, whatever is lost on the way."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammasky.distributed.board import Board
from gammasky.distributed.folder import Places, read_failure
from gammasky.distributed.manifest import (
    CAMPAIGN,
    Listed,
    Manifest,
    check_same,
    list_members,
    read_manifest,
    write_manifest,
)
from gammasky.distributed.manifest import grow as grow_manifest
from gammasky.distributed.member import Member, Resources, Task
from gammasky.distributed.members_driver import MembersDriver
from gammasky.distributed.record import load_member, load_record
from gammasky.distributed.runners.base import Outcome, Runner
from gammasky.distributed.software import software_of
from gammasky.distributed.status import Status, status
from gammasky.distributed.store import Store
from gammasky.distributed.table import read_rows
from gammasky.distributed.undertaking import undertaken

__all__ = ["Status", "Tally", "load_member", "read_manifest", "read_rows", "run_campaign", "status"]


@dataclass(frozen=True)
class Tally:
    """How a campaign ended.

    Attributes:
        total: members of the campaign; done, failed: how many of them are.
        fitted: of those that are done, how many this run did.
        seconds: of this run.
    """

    total: int
    done: int
    failed: int
    fitted: int
    seconds: float


def run_campaign(
    folder: Path | str,
    task: Task,
    members: Sequence[Member],
    resources: Resources,
    runner: Runner,
    *,
    manifest: dict[str, Any],
    resume: bool = False,
    grow: bool = False,
    retry_failed: bool = False,
    keep_going: bool = False,
    check: bool = False,
    allow_mixed: Sequence[str] = (),
    quiet: bool = False,
    again: str = "",
) -> Tally:
    """Run the task on every member that has no result in the folder yet.

    A finished member is a file that is there whole or not at all: this process, a worker or a machine may be killed at
    any time, and `resume` goes on with what is missing.

    Args:
        folder: the campaign's; every worker must see it under the same path.
        task: what to do with a member.
        members: what to do it with.
        resources: what each member is given that does not ask for its own.
        runner: where members run; results do not depend on it.
        manifest: the caller's own description of the campaign (plain JSON), kept in its manifest.
        resume: go on with the campaign of that folder.
        grow: begin one, or go on with that of the folder, also with more members than it has, or, where the manifest is
            the same, only some of them.
        retry_failed: members that failed by themselves are tried again.
        keep_going: also where most members fail with the same error.
        check: read every result that is there whole, not only its record.
        allow_mixed: packages of which this run may have other versions than the fits that are there, or its workers.
        quiet: nothing on stderr but warnings.
        again: what a user does to go on after an interrupt, where that tries failures again, too; empty: `gammasky
            campaign resume`.

    Returns:
        how many members are done and failed. A member that fails stops no other.

    Raises:
        InputError: members, folder or runner that cannot be used; another driver.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when what ran has ended.
    """
    began, folder = time.monotonic(), Path(folder).resolve()
    listed, software = list_members(members), software_of(task)
    by_key = {known.key: member for known, member in zip(listed, members, strict=True)}
    specs = {key: member.spec for key, member in by_key.items()}
    held = undertaken(folder, CAMPAIGN, software, resume=resume, grow=grow, allow_mixed=allow_mixed)
    with held as undertaking, Board(folder.name, quiet) as board:
        places = undertaking.places
        if grow and places.manifest.exists():
            grow_manifest(folder, manifest, listed, specs)
        elif resume:
            check_same(folder, read_manifest(folder), listed, specs)
        else:
            write_manifest(folder, Manifest(manifest, listed, software))
        undertaking.go_on(read_manifest(folder).software)
        outcomes = _stored(places, listed, check)
        before = len(outcomes)
        outcomes |= _failed_before(places, [key for key in specs if key not in outcomes], retry_failed)
        retried, again = bool(again), again or f"go on with `gammasky campaign resume {folder}`"
        driver = MembersDriver(places, listed, outcomes, board, keep_going=keep_going, again=again, retried=retried)
        try:
            driver.run(by_key, undertaking, runner, task, resources)
        except KeyboardInterrupt:
            print(f"gammasky: interrupted; {again}", file=sys.stderr)
            raise
    done = sum(outcome.ending == "done" for outcome in driver.outcomes.values())
    return Tally(len(listed), done, len(listed) - done, done - before, time.monotonic() - began)


def _stored(places: Places, listed: Sequence[Listed], check: bool) -> dict[str, Outcome]:
    """The members that are done, by key. A file that cannot be read back is named in a warning and set aside.

    Of each file the record is read, and the list of what else it holds; what is damaged within an array shows with
    `check`, or when that array is read.
    """
    whole = Store(places.members)
    there = {path.stem for path in places.members.glob("*.npz")}
    found: dict[str, Outcome] = {}
    for member in (member for member in listed if member.key in there):
        outcome = load_record(places, member.key)
        if outcome and not (check and not whole.has(member.key)):
            found[member.key] = outcome
        else:
            _set_aside(places, member)
    return found


def _set_aside(places: Places, member: Listed) -> None:
    path = places.members / f"{member.key}.npz"
    number = sum(1 for _ in places.damaged.glob(f"{member.key}*"))
    kept = places.damaged / f"{member.key}{f'.{number}' if number else ''}.npz"
    os.replace(path, kept)
    print(
        f"gammasky: warning: the file of '{member.name}' is damaged; set aside as {kept}, and fitted again",
        file=sys.stderr,
    )


def _failed_before(places: Places, keys: Sequence[str], retry: bool) -> dict[str, Outcome]:
    """Those of the members that have failed and are not tried again; the others are free of their failures.

    One that was lost with its worker, time and again, is not to blame: a later run tries it anew.
    """
    kept: dict[str, Outcome] = {}
    for key in keys:
        failure = read_failure(places, key)
        if failure and failure.ending != "lost" and not retry:
            kept[key] = failure
        else:
            (places.failed / f"{key}.json").unlink(missing_ok=True)
    return kept
