"""Members side by side in threads of one process: each as if it were alone, whatever happens beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gammasky.distributed.campaign import Tally, load_member, read_rows, status
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners import lanes
from gammasky.distributed.runners.base import Job, Work
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.runners.place import runner_at
from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.store import Store
from gammasky.engine import interrupt
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
MembersOf = Callable[..., Sequence[Member]]
Eventually = Callable[..., bool]
LANES = 4


@pytest.fixture
def side_by_side(run: Run, tasks: ModuleType, tmp_path: Path) -> Run:
    """`run` with lanes; members note where they work, and beside how many others."""

    def start(members: Sequence[Member], **options: object) -> Tally:
        task = tasks.Beside(str(tmp_path / "log"))
        return run(members, **{"task": task, "runner": InlineRunner(LANES), **options})

    return start


def test_results_are_those_of_one_after_the_other(
    side_by_side: Run, run: Run, members_of: MembersOf, tmp_path: Path
) -> None:
    members = members_of(6, do="sleep", seconds=0.3)
    assert side_by_side(members, folder=tmp_path / "lanes").done == 6
    assert run(members, folder=tmp_path / "alone").done == 6
    for member in members:
        lane, alone = (load_member(tmp_path / name, Store.key(member.spec)) for name in ("lanes", "alone"))
        np.testing.assert_array_equal(lane.arrays["draws"], alone.arrays["draws"])
    beside = [row["beside"] for row in read_rows(tmp_path / "lanes")]
    assert max(beside) == LANES - 1  # type: ignore[type-var]


def test_other_structures_wait(side_by_side: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """In the order of the plan they alternate; side by side they never are."""
    kinds = [members_of([number], do="sleep", seconds=0.1, structure=number % 2)[0] for number in range(6)]
    assert side_by_side(kinds).done == 6
    assert all(row["others"] == 0 for row in read_rows(tmp_path / "campaign"))
    assert max(int(row["beside"]) for row in read_rows(tmp_path / "campaign")) == 2
    log = [int(line) % 2 for line in (tmp_path / "log").read_text().split()]
    assert log == [0, 0, 0, 1, 1, 1]


def test_a_task_that_says_nothing_of_structures_is_alone(run: Run, members_of: MembersOf) -> None:
    began = time.monotonic()
    assert run(members_of(3, do="sleep", seconds=0.2), runner=InlineRunner(LANES)).done == 3
    assert time.monotonic() - began > 0.6


def test_a_lane_that_fails_leaves_the_others_alone(side_by_side: Run, members_of: MembersOf, tmp_path: Path) -> None:
    good = members_of(3, do="sleep", seconds=0.3)
    tally = side_by_side([*good, *members_of([7], do="fail")])
    assert (tally.done, tally.failed) == (3, 1)
    failed = next(row for row in read_rows(tmp_path / "campaign") if row["state"] == "failed")
    assert failed["error"] == "ValueError: number 7 is no good"
    tally = side_by_side([*good, *members_of([7], do="fail")], resume=True, retry_failed=True)
    assert (tally.fitted, tally.failed) == (0, 1)
    assert (tmp_path / "log").read_text().split().count("7") == 2


def test_a_lane_that_takes_too_long(side_by_side: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """It is interrupted, and no other is."""
    members = [*members_of([1], do="heed", seconds=60.0), *members_of([2, 3], do="sleep", seconds=1.5)]
    began = time.monotonic()
    tally = side_by_side(members, resources=Resources(hours=0.5 / 3600))
    assert time.monotonic() - began < 10
    assert (tally.done, tally.failed) == (2, 1)  # Python code that does not listen runs to its end
    assert "took longer than its time limit" in next(
        str(row["error"]) for row in read_rows(tmp_path / "campaign") if row["state"] == "failed"
    )


def test_an_interrupt_ends_all_lanes_which_keep_checkpoints(
    side_by_side: Run, members_of: MembersOf, tmp_path: Path, eventually: Eventually
) -> None:
    members = [*members_of(2), *members_of(range(2, 8), do="heed", seconds=1.5)]
    folder = tmp_path / "campaign"
    told: list[float] = []

    def interrupt_them() -> None:
        if eventually(lambda: len(list((folder / "scratch").glob("*/began"))) == LANES):
            told.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt_them)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side(members)
    assert time.monotonic() - told[0] < 1.5
    sender.join()
    assert status(folder).done == 2
    assert len(list((folder / "scratch").glob("*/checkpoint"))) == LANES
    assert side_by_side(members, resume=True).fitted == 6


def test_a_lane_that_is_deaf_is_not_waited_for(
    drive: Callable[..., AbstractContextManager[subprocess.Popen[str]]], tmp_path: Path, eventually: Eventually
) -> None:
    """As a compiler is."""
    with drive(tmp_path / "campaign", tmp_path / "log", 2, 60.0, where="lanes") as driver:
        assert eventually(lambda: (tmp_path / "log").exists() and len((tmp_path / "log").read_text().split()) == 2)
        driver.send_signal(signal.SIGINT)
        assert driver.wait(15) == 130
        assert driver.stderr
        assert "gammasky: interrupted; " in driver.stderr.read()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (InputError("no room"), 2)])
def test_a_process_that_waits_for_no_lane_says_why_it_ends(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    over, codes = threading.Event(), list[int]()
    session = lanes.LanesSession(Work(lambda _spec, _desk: over.wait(), tmp_path, Resources(), lanes=2))
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr(lanes, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(lanes.atexit, "register", lambda leave, *given: leave(*given))
    monkeypatch.setattr(lanes.os, "_exit", codes.append)
    session.submit(Job("0" * 32, "deaf", {}))
    session.poll(0.0)
    try:
        raise error
    except BaseException:
        session.stop()
    over.set()
    assert codes == [code]


def test_progress_of_every_lane(
    side_by_side: Run, members_of: MembersOf, tmp_path: Path, eventually: Eventually
) -> None:
    folder, over = tmp_path / "campaign", tmp_path / "over"
    seen: list[dict[str, float]] = []

    def watch() -> None:
        def all_are_seen() -> bool:
            running = status(folder).running if (folder / "manifest.json").exists() else []
            seen[:] = [member.values for member in running if member.fraction > 0.5]
            return len(seen) == LANES

        try:
            eventually(all_are_seen)
        finally:
            over.touch()  # members wait for it

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert side_by_side(members_of(LANES, do="sleep", seconds=0.2, until=str(over))).done == LANES
    watcher.join()
    assert seen == [{"elbo": -7.0}] * LANES


@pytest.mark.usefixtures("ray")
def test_lanes_of_seats(side_by_side: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """On Ray: members spread over the seats, several on each; one that kills its process is alone after that."""
    quick = members_of(8, do="sleep", seconds=1.0)
    members = [*members_of([20], do="die once"), *members_of([21], do="fail"), *quick]
    tally = side_by_side(members, runner=RayRunner("auto", 2, LANES))
    assert (tally.done, tally.failed) == (9, 1)
    rows = {str(row["name"]): row for row in read_rows(tmp_path / "campaign")}
    assert rows["number=20,do=die once"]["beside"] == 0
    assert rows["number=20,do=die once"]["attempts"] == 2
    assert max(int(row["beside"]) for row in rows.values() if row["state"] == "done") > 0


@pytest.mark.parametrize("number", [0, True, 1.5])
@pytest.mark.parametrize("address", [None, "local"])
def test_bad_lanes(number: object, address: str | None) -> None:
    with pytest.raises(InputError, match=r"^lanes: expected a whole number of at least 1, got "):
        runner_at(address, None, number)  # type: ignore[arg-type]


def test_the_event_of_a_thread_is_a_signal_to_it_alone() -> None:
    word, found = threading.Event(), []

    def heed() -> None:
        with interrupt.heeding(word), interrupt.Interrupts() as interrupts:
            found.append((interrupt.pending(), interrupts.pending))
            word.set()
            found.append((interrupt.pending(), interrupts.pending))
            with pytest.raises(KeyboardInterrupt):
                interrupt.check()
            word.clear()
        word.set()
        interrupt.check()  # it does not heed any more

    thread = threading.Thread(target=heed)
    thread.start()
    thread.join()
    assert found == [(False, False), (True, True)]
    interrupt.check()
