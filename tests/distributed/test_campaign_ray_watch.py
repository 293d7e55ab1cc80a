"""Workers on Ray that give no sign of life, or make no progress, are given up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners import hub, watch
from gammasky.distributed.runners.ray import RayRunner

Run = Callable[..., Tally]
Eventually = Callable[..., bool]
MembersOf = Callable[..., list[Member]]


@pytest.mark.slow
@pytest.mark.usefixtures("ray", "quick")
def test_a_frozen_worker_is_given_up(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Without any time limit; both slots have frozen workers, and others come into their places."""
    monkeypatch.setattr(watch, "PATIENCE", 3)
    frozen = tmp_path / "frozen"
    members = [*members_of([1, 3], do="freeze once", frozen=str(frozen)), *members_of([2])]
    try:
        assert run(members, runner=RayRunner()).done == 3
        assert [row["attempts"] for row in read_rows(tmp_path / "campaign")] == [2, 2, 1]
        pids = frozen.read_text().split()
        assert len(set(pids)) == 2
        assert eventually(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in pids))
    finally:
        for pid in frozen.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.usefixtures("ray", "quick")
def test_a_worker_that_freezes_while_it_loads_is_given_up(
    run: Run,
    members_of: MembersOf,
    tasks: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """Before the task has begun, so that nothing but the worker itself can have given a sign of life."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(watch, "PATIENCE", 4)
    frozen = tmp_path / "frozen"
    task = tasks.FrozenOnce(str(tmp_path / "log"), str(frozen))
    try:
        assert run(members_of(2), runner=RayRunner(), task=task).done == 2
        assert sorted((tmp_path / "log").read_text().split()) == ["0", "1"]
        assert eventually(lambda: not Path(f"/proc/{frozen.read_text().strip()}/stat").exists())
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(frozen.read_text()), signal.SIGKILL)


def sign(beats: int, **reports: int) -> hub.Sign:
    return beats, {key: (number, 0.5, {}) for key, number in (reports or {"member": 0}).items()}, "here", 1


def test_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seat that computes for long without a word is not taken for frozen; one that gives no sign is."""
    monkeypatch.setattr(watch, "PATIENCE", 20)
    looks = watch.Watch()
    assert looks.due()
    for look in range(21):
        signs = {"works": sign(look), "frozen": sign(3), "again": sign(look // 10), "opens": None}
        assert looks.look(signs) == {}
        assert not looks.due()
    assert looks.look({"works": sign(21), "frozen": sign(3), "again": sign(2), "opens": None}) == {
        "frozen": watch.SILENT
    }
    assert looks.look({"works": sign(22)}) == {}
    assert looks.look({"works": sign(23), "frozen": sign(3)}) == {}  # another seat, as far as this one knows


def test_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest hang looks alive: signs of life, and no progress. One that never told of any is left alone."""
    monkeypatch.setattr(watch, "STANDSTILL", 10)
    looks = watch.Watch()
    for look in range(12):
        assert looks.look({
            "comes on": sign(look, member=look),
            "hangs": sign(look, member=2),
            "compiles": sign(look, member=1),
            "idle": (look, {}, "here", 1),
            "one lane": sign(look, one=look, other=5, third=1),
        }) == ({"hangs": "member", "one lane": "other"} if look == 11 else {})  # fmt: skip
    assert looks.look({"hangs": sign(13, another=0), "one lane": sign(13, one=12, other=6)}) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("ray", "quick")
def test_a_member_that_makes_no_progress_is_tried_on_another_seat(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STANDSTILL", 3)
    members = [*members_of([1], do="stand still"), *members_of([2])]
    began = time.monotonic()
    assert run(members, runner=RayRunner(), resources=Resources(hours=0)).done == 2
    assert time.monotonic() - began < 200  # it would have hung for 300 s
    assert [row["attempts"] for row in read_rows(tmp_path / "campaign")] == [2, 1]
