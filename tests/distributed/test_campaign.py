"""Campaigns in one process: every member once, failures and interrupts kept apart, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest

from gammasky.distributed import driver, members_driver
from gammasky.distributed.attempt import attempt
from gammasky.distributed.campaign import Tally, load_member, read_manifest, read_rows, status
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.members_driver import time_limit
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.store import Store
from gammasky.engine.errors import GammaskyError, InputError
from tests.distributed.campaign_tasks import started

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]


def test_every_member_once_and_stored(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = members_of(5)
    tally = run(members)
    assert (tally.total, tally.done, tally.failed, tally.fitted) == (5, 5, 0, 5)
    assert started(tmp_path) == [0, 1, 2, 3, 4]
    folder = tmp_path / "campaign"
    assert {path.name for path in (folder / "members").iterdir()} == {f"{Store.key(m.spec)}.npz" for m in members}
    assert not list((folder / "scratch").iterdir())
    assert not (folder / "running.json").exists()
    for member in members:
        result = load_member(folder, Store.key(member.spec))
        number = member.spec["number"]
        assert result.row == {"square": number**2, "elbo": -1.5 * number}
        np.testing.assert_array_equal(result.arrays["draws"], np.random.default_rng(number).normal(size=(4, 3)))
        assert set(result.arrays) == {"draws"}


def test_rows_and_manifest_come_back(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of(3), *members_of([7], do="fail")]
    run(members)
    folder = tmp_path / "campaign"
    manifest = read_manifest(folder)
    assert manifest.campaign == {"about": "squares"}
    assert [(known.key, known.name) for known in manifest.members] == [(Store.key(m.spec), m.name) for m in members]
    rows = read_rows(folder)
    assert [row["name"] for row in rows] == [member.name for member in members]
    assert [row["state"] for row in rows] == ["done", "done", "done", "failed"]
    assert rows[2]["labels"] == {"number": "2", "parity": "even"}
    assert (rows[2]["square"], rows[2]["elbo"], rows[2]["attempts"]) == (4, -3.0, 1)
    assert rows[3]["error"] == "ValueError: number 7 is no good"
    assert "square" not in rows[3]
    table = pd.read_csv(folder / "results.csv")
    assert list(table["name"]) == [row["name"] for row in rows]
    assert (table["axis.number"][2], table["square"][2], table["elbo"][2], table["error"][3]) == (
        2, 4, -3.0, rows[3]["error"],
    )  # fmt: skip


def test_the_table_grows_while_the_campaign_runs(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_driver, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(members_driver, "TABLE_SECONDS", -1.0)
    monkeypatch.setattr(members_driver, "TABLE_SHARE", 1e9)
    run(members_of(4, do="lines", file=str(tmp_path / "campaign" / "results.csv")))
    assert [row["lines"] for row in read_rows(tmp_path / "campaign")] == [1, 2, 3, 4]  # one is that of the headings


def test_a_member_that_raises_stops_no_other(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of([0]), *members_of([1], do="fail"), *members_of([2])]
    tally = run(members)
    assert (tally.done, tally.failed) == (2, 1)
    said = json.loads((tmp_path / "campaign" / "failed" / f"{Store.key(members[1].spec)}.json").read_text())
    assert said["error"] == "ValueError: number 1 is no good"
    assert said["attempts"] == 1
    assert "in fail" in said["traceback"]
    again = run(members, resume=True)
    assert (again.done, again.failed, again.fitted) == (2, 1, 0)
    assert started(tmp_path) == [0, 1, 2]
    run(members, resume=True, retry_failed=True)
    assert started(tmp_path) == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("again", "way"),
    [
        ("", "correct it, and go on with `gammasky campaign resume .*` and `retry_failed=True` \\(with `keep_going"),
        ("the same command goes on", "correct it, and the same command goes on \\(with `keep_going=True`"),
    ],
)
def test_where_all_fail_alike_it_is_said_how_to_go_on(run: Run, members_of: MembersOf, again: str, way: str) -> None:
    with pytest.raises(GammaskyError, match=way):
        run(members_of(12, do="fail"), again=again)


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        ("wrong value", "TypeError: row 'draws': expected a number or text, got list"),
        ("wrong name", "TypeError: row 'state': the table of results has a column of that name; choose another"),
        ("no result", "TypeError: a task must return a Result, got dict"),
    ],
)
def test_a_result_that_is_none(
    run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path, deed: str, error: str
) -> None:
    task = {"task": tasks.no_result} if deed == "no result" else {}
    assert run(members_of([3], do=deed), **task).failed == 1
    assert read_rows(tmp_path / "campaign")[0]["error"] == error


def test_what_ran_short_of_memory_is_tried_again(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.2)
    began = time.monotonic()
    tally = run([*members_of([1], do="starve once"), *members_of([2])])
    assert (tally.done, tally.failed) == (2, 0)
    assert time.monotonic() - began > 0.2
    assert started(tmp_path) == [1, 2, 1]
    assert [row["attempts"] for row in read_rows(tmp_path / "campaign")] == [2, 1]


@pytest.mark.parametrize("where", ["result", "checkpoint", "table"])
def test_a_full_disk_ends_the_campaign_at_once(
    run: Run, members_of: MembersOf, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fit is begun, not all of them five times; and when there is room the campaign goes on."""
    members = members_of(4, do="fill" if where == "checkpoint" else "nothing")
    with monkeypatch.context() as patch:
        patch.setenv("DISK", "full")

        def save(*_arguments: object) -> NoReturn:
            if where == "table":  # which was written at the beginning, and has no room from now on
                patch.setattr(members_driver, "write_csv", save)
            raise OSError(28, "No space left on device", str(tmp_path / "campaign" / "members" / "x.npz"))

        if where != "checkpoint":
            patch.setattr(Store, "save", save)
        with pytest.raises(GammaskyError, match=r"no room for results: OSError: .*No space left .*; make room"):
            run(members)
    assert started(tmp_path) == [0]
    assert read_rows(tmp_path / "campaign") == []
    assert run(members, resume=True).done == 4


def test_the_default_time_limit_is_of_the_estimate() -> None:
    assert time_limit(Resources(), 1000.0) == 20_000
    assert time_limit(Resources(), 1.0) == 3600  # to compile alone may take minutes
    assert time_limit(Resources(hours=2), 1000.0) == 7200
    assert time_limit(Resources(hours=0), 1000.0) == float("inf")


def test_a_member_that_takes_too_long_fails(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of([1], do="sleep", seconds=300.0), *members_of([2])]
    began = time.monotonic()
    tally = run(members, resources=Resources(hours=0.5 / 3600))
    assert time.monotonic() - began < 300  # it was not waited for
    assert (tally.done, tally.failed) == (1, 1)
    error = read_rows(tmp_path / "campaign")[0]["error"]
    assert error == "took longer than its time limit of 0.000138889 h; raise hours, or make it shorter"


def test_an_attempt_sees_what_is_stored_and_where_it_is(
    run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path
) -> None:
    """One whose answer was lost is not run again; one on a node without the storage does not run at all."""
    (member,) = members_of(1)
    run([member])
    task, job = tasks.Square(str(tmp_path / "log")), Job(Store.key(member.spec), member.name, member.spec, attempt=2)

    def attempted(folder: Path) -> Outcome:
        return attempt(Work(task, folder, Resources()), job, lambda *_: None, {})

    again = attempted(tmp_path / "campaign")
    assert (again.ending, again.row, again.attempts) == ("done", {"square": 0, "elbo": 0.0}, 1)
    assert attempted(tmp_path / "elsewhere").ending == "apart"
    assert started(tmp_path) == [0]
    assert not (tmp_path / "elsewhere").exists()


def test_scratch_is_there_and_removed(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    run(members_of([4], do="checkpoint"))
    (row,) = read_rows(tmp_path / "campaign")
    assert row["was_there"] is True
    assert Path(row["folder"]).parent == tmp_path / "campaign" / "scratch"
    assert not Path(row["folder"]).exists()


def kill_this_process(number: signal.Signals, members: Path) -> None:
    """Send a signal when the third member is at work; none if that has not come to pass within a minute."""
    end = time.monotonic() + 60
    while not members.exists() or len(list(members.glob("[!.]*"))) < 2:
        if time.monotonic() > end:
            return
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(os.getpid(), number)


def test_an_interrupt_says_how_to_go_on(
    run: Run, members_of: MembersOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [*members_of(2), *members_of([5], do="sleep", seconds=20.0), *members_of([6])]
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = tmp_path / number.name
        sender = threading.Thread(target=kill_this_process, args=(number, folder / "members"))
        sender.start()
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt):
            run(members, folder=folder)
        sender.join()
        assert signal.getsignal(number) is before
        assert f"interrupted; go on with `gammasky campaign resume {folder}`" in capsys.readouterr().err
        assert status(folder).done == 2
        assert [row["state"] for row in read_rows(folder)] == ["done", "done"]


@pytest.mark.parametrize("seconds", [0.0, 20.0])  # of a user; because the member's time is up
def test_an_interrupt_that_a_hook_swallows(
    run: Run, members_of: MembersOf, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    swallowed: list[type[BaseException]] = []
    monkeypatch.setattr("sys.unraisablehook", lambda of: swallowed.append(of.exc_type))
    members = [*members_of(1), *members_of([5], do="interrupted in a hook", seconds=seconds), *members_of([6, 7])]
    if seconds:
        assert run(members, resources=Resources(hours=0.5 / 3600)).done == 4
    else:
        with pytest.raises(KeyboardInterrupt):
            run(members)
        assert run(members, resume=True).fitted == 2  # what was at work had ended
    assert swallowed == [KeyboardInterrupt]


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"cpus": 0}, "^cpus: expected a whole number of at least 1, got 0"),
        ({"cpus": 1.0}, "^cpus: expected a whole number"),
        ({"gpus": -0.5}, "^gpus: expected a finite number of at least 0, got -0.5"),
        ({"gpus": 2}, "^gpus: a fit runs on one GPU; expected a number from 0 to 1, got 2"),
        ({"memory_gb": float("nan")}, "^memory_gb: expected a finite number"),
        ({"hours": True}, "^hours: expected a finite number of at least 0, got True"),
    ],
)
def test_bad_resources(bad: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Resources(**bad)  # type: ignore[arg-type]


class Refusing:
    """No workers."""

    lanes = 1

    def session(self, work: Work) -> NoReturn:
        raise InputError(f"address: no cluster for {work.folder.name}")


def test_a_campaign_that_is_refused_leaves_no_folder(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    with pytest.raises(InputError, match=r"^address: no cluster for campaign"):
        run(members_of(2), runner=Refusing())
    assert not folder.exists()
    assert run(members_of(2)).done == 2
    before = sorted(path.name for path in folder.rglob("*.npz"))
    with pytest.raises(InputError, match=r"^address: no cluster for campaign"):
        run([*members_of(2), *members_of([7])], runner=Refusing(), grow=True)
    assert sorted(path.name for path in folder.rglob("*.npz")) == before
