"""A campaign's folder: one driver, nobody's files touched, read by anybody at any time, whole after any kill."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed.board import duration, render, summary
from gammasky.distributed.campaign import Tally, read_manifest, read_rows, status
from gammasky.distributed.folder import Places
from gammasky.distributed.member import Member
from gammasky.distributed.status import Ended, Running, Status, read_running, seconds_left
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
Drive = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
Eventually = Callable[..., bool]
MembersOf = Callable[..., list[Member]]


def stored(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "members").glob("[!.]*.npz")}


def test_a_folder_that_holds_a_campaign(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    run(members_of(2))
    folder = tmp_path / "campaign"
    with pytest.raises(InputError, match=rf"holds a campaign; go on with `gammasky campaign resume {folder}`$"):
        run(members_of(2))
    with pytest.raises(InputError, match=r"of other members: it lacks 'number=2'; start a new one in another folder$"):
        run(members_of(3), resume=True)
    with pytest.raises(InputError, match="of other members: it has 'number=1', which is not asked for; "):
        run(members_of(1), resume=True)
    with pytest.raises(InputError, match="of other members: it lists them otherwise; "):
        run(members_of([1, 0]), resume=True)
    assert len(stored(folder)) == 2


def test_a_folder_of_something_else(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"campaign: holds something else \('thesis.tex'\); expected a new or empty"):
        run(members_of(2))
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match=r"thesis.tex: expected a folder, got a file; choose another name$"):
        run(members_of(2), folder=folder / "thesis.tex")
    for use in (lambda: run(members_of(2), resume=True), lambda: status(folder), lambda: read_rows(tmp_path / "none")):
        with pytest.raises(InputError, match=r"no campaign there; start one with `gammasky campaign run FILE`$"):
            use()
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"sub: cannot write there: Not a directory$"):
        run(members_of(2), folder=tmp_path / "file" / "sub")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 1}, r"manifest.json: expected version 2, got 1; continue it with the gammasky that began it"),
        ({"format": "other"}, r"expected the manifest of a campaign, got something else; choose another folder$"),
        ({"members": []}, r"its list of members does not match its checksum; "),
    ],
)
def test_a_manifest_of_another_kind(
    run: Run, members_of: MembersOf, tmp_path: Path, change: dict[str, object], match: str
) -> None:
    run(members_of(2))
    path = tmp_path / "campaign" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for use in (lambda: run(members_of(2), resume=True), lambda: status(path.parent)):
        with pytest.raises(InputError, match=match):
            use()
    with pytest.raises(InputError, match=r"manifest.json: expected |holds a campaign; go on with "):
        run(members_of(2))
    path.write_text(path.read_text()[:50])
    with pytest.raises(InputError, match=r"manifest.json: damaged \("):
        read_manifest(path.parent)


def test_a_manifest_with_more_in_it_than_is_known(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """As of another release: keys that mean nothing here, and one that is missing."""
    run(members_of(2))
    path = tmp_path / "campaign" / "manifest.json"
    content = json.loads(path.read_text())

    def rewrite(change: Callable[[dict[str, Any]], object]) -> None:
        changed = json.loads(json.dumps(content))
        change(changed)
        text = json.dumps(changed["members"], sort_keys=True, separators=(",", ":"))
        path.write_text(json.dumps({**changed, "sha256": hashlib.sha256(text.encode()).hexdigest()}))

    rewrite(lambda changed: [member.update(colour="red") for member in [changed, *changed["members"]]])
    assert status(path.parent).done == 2
    assert run(members_of(2), resume=True).done == 2
    rewrite(lambda changed: changed["members"][1].pop("name"))
    with pytest.raises(InputError, match=r"the manifest: damaged \(KeyError: 'name'\); start a new one elsewhere$"):
        status(path.parent)
    path.write_text('{"format":' * 100_000)
    with pytest.raises(InputError, match=r"manifest.json: damaged \("):
        status(path.parent)


def test_small_files_of_another_release_say_nothing(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    run([*members_of(1), *members_of([7], do="fail")])
    places = Places(tmp_path / "campaign")
    places.running.write_text(json.dumps({"running": [{"key": "k", "colour": "red"}]}))
    assert read_running(places) == []
    (failure,) = places.failed.iterdir()
    failure.write_text(json.dumps({"why": "?"}))
    assert [row["state"] for row in read_rows(places.folder)] == ["done"]
    places.running.write_text("[" * 100_000)
    assert read_running(places) == []


def test_members_that_cannot_be_told_apart(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    (one,) = members_of(1)
    for members, match in (
        ([], "^members: expected at least one, got none$"),
        ([one, Member("again", one.spec, {}, 1.0)], "^members 'number=0' and 'again' are the same fit; leave one out$"),
        (
            [one, Member(one.name, {"number": 5}, {}, 1.0)],
            "^members: two are named 'number=0'; give each its own name$",
        ),
        ([Member("x", {"number": {1}}, {}, 1.0)], "^specification of a member: expected plain, finite JSON"),
        (
            [Member("x", {"number": 1}, {}, float("nan"))],
            "^member 'x': expected a finite cost of at least 0 s, got nan$",
        ),
    ):
        with pytest.raises(InputError, match=match):
            run(members)
    assert not (tmp_path / "campaign").exists()


def test_a_second_driver_is_refused(
    run: Run, drive: Drive, tasks: ModuleType, tmp_path: Path, eventually: Eventually
) -> None:
    folder = tmp_path / "campaign"
    with drive(folder, tmp_path / "log", 60, 0.5) as first:
        assert eventually(lambda: (folder / "members").exists() and stored(folder), seconds=120)
        match = rf"another driver \(process {first.pid} on .+\) is at work there; wait for it, or stop it first$"
        with pytest.raises(InputError, match=match):
            run(tasks.timed(60, "sleep", 0.5), resume=True)
        assert first.poll() is None  # it was not waited for
        assert status(folder).driver.startswith(f"process {first.pid} on ")


@pytest.mark.parametrize("number", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_a_file_system_without_locks(
    run: Run, members_of: MembersOf, tmp_path: Path, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may work there, but anybody may look."""
    run(members_of(1))

    def unknown(*_arguments: object) -> None:
        raise OSError(getattr(errno, number), "no flock here")

    monkeypatch.setattr("fcntl.flock", unknown)
    with pytest.raises(InputError, match="its file system knows no locks; choose a folder on another one"):
        run(members_of(1), resume=True)
    assert status(tmp_path / "campaign").done == 1


def test_status_while_it_runs_and_after_the_driver_was_killed(
    drive: Drive, tmp_path: Path, eventually: Eventually
) -> None:
    folder = tmp_path / "campaign"
    with drive(folder, tmp_path / "log", 5, 1.5) as first:
        seen: list[Status] = []

        def second_at_work() -> bool:
            seen.append(status(folder))
            return seen[-1].done == 1 and any(member.fraction > 0 for member in seen[-1].running)

        assert eventually(lambda: (folder / "manifest.json").exists() and second_at_work(), seconds=120)
        now = seen[-1]
        (member,) = now.running
        assert (now.total, now.done, now.failed, now.waiting) == (5, 1, 0, 3)
        assert (member.name, member.attempt, member.values) == ("n1", 1, {"elbo": -7.0})
        assert 0 < member.fraction < 1
        assert now.seconds_left is not None
        assert 0 < now.seconds_left < 30
        first.send_signal(signal.SIGKILL)
        first.wait()
    after = status(folder)
    assert (after.done, after.running, after.driver, after.seconds_left, after.waiting) == (1, (), "", None, 4)


def test_a_driver_killed_at_any_time_loses_nothing(
    drive: Drive, tasks: ModuleType, tmp_path: Path, eventually: Eventually
) -> None:
    """What was stored when the driver was killed is never run again, and all are stored in the end."""
    folder, log = tmp_path / "campaign", tmp_path / "log"
    rng, keys = random.Random(3), [Store.key(member.spec) for member in tasks.timed(40, "sleep", 0.02)]
    for round_ in range(3):
        before = stored(folder) if folder.exists() else set()
        ran = len(log.read_text().split()) if log.exists() else 0
        how = "resume" if (folder / "manifest.json").exists() else "new"
        with drive(folder, log, 40, 0.02, how) as process:
            assert eventually(
                lambda: (folder / "members").exists() and len(stored(folder)) > len(before),  # noqa: B023
                seconds=120,
            )
            time.sleep(rng.uniform(0.0, 0.15))
            process.kill()
        again = {keys[int(n)] for n in log.read_text().split()[ran:]}
        assert not again & before, round_
        assert before <= stored(folder)
    with drive(folder, log, 40, 0.02, "resume") as process:
        assert process.wait(30) == 0
    assert len(stored(folder)) == 40
    assert [row["square"] for row in read_rows(folder)] == [n**2 for n in range(40)]
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_lines_where_there_is_no_terminal(drive: Drive, tmp_path: Path) -> None:
    with drive(tmp_path / "campaign", tmp_path / "log", 3, 0.1) as process:
        _, said = process.communicate(timeout=30)
    assert said.splitlines()[-1] == "gammasky: campaign: 3 of 3 done"


def test_time_left() -> None:
    assert seconds_left(100.0, [], (0.0, 0.0), 4) == 25.0
    assert seconds_left(100.0, [], (10.0, 20.0), 4) == 50.0
    assert seconds_left(10.0, [(10.0, 0.5), (20.0, 0.75)], (5.0, 5.0), 2) == 10.0
    assert seconds_left(0.0, [(100.0, 0.1)], (0.0, 0.0), 8) == 90.0
    assert seconds_left(0.0, [(100.0, 7.0)], (0.0, 0.0), 0) == 0.0
    assert [duration(seconds) for seconds in (8.4, 120, 7200)] == ["8 s", "2 min", "2.0 h"]


def test_what_a_terminal_shows() -> None:
    from rich.console import Console

    running = tuple(
        Running(str(n), f"member {n}", 0.25, 60.0, 1 + n, {"elbo": -20080.14}, "here", n) for n in range(25)
    )
    recent = (Ended("sky [1]", "done", 75.0, {"k_hat": 0.456}), Ended("bad", "failed", 3.0, {}, "ValueError: no"))
    state = Status(60, 20, 2, running, recent, 600.0, "here")
    assert summary(state) == "20 of 60 done, 2 failed, 25 running, 13 waiting, about 10 min left"
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(render(state, "masks"))
    console.file.close()
    text = console.export_text()
    assert text.startswith("masks: 20 of 60 done, 2 failed, ")
    for part in ("member 0", "(attempt 2)", "25%", "-20080.1", "and 5 more", "sky [1]", "0.46", "bad: ValueError: no"):
        assert part in text, part
