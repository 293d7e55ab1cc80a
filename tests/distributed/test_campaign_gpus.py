"""Campaigns on GPUs, on a Ray that is told of four: what counts is which of them a process is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners import seats
from gammasky.distributed.runners.ray import RayRunner

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]


@pytest.mark.usefixtures("ray_with_gpus")
def test_a_process_holds_one_share_of_one_device_for_life(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """CUDA keeps the devices that a process saw first; so all members of a process must be meant for those."""
    members = members_of(40, do="device", seconds=0.1, pid=1)
    assert run(members, runner=RayRunner(), resources=Resources(gpus=0.5)).done == 40
    seen: dict[int, set[str]] = defaultdict(set)
    for row in read_rows(tmp_path / "campaign"):
        seen[row["pid"]].add(row["device_now"])
        assert row["device_now"] == row["device_first"]
    assert all(len(devices) == 1 for devices in seen.values())
    shares = [sum(devices == {gpu} for devices in seen.values()) for gpu in "0123"]
    assert sum(shares) == len(seen) >= 4
    assert max(shares) <= 2  # the whole of each device, and no more


@pytest.mark.slow
@pytest.mark.usefixtures("ray_with_gpus")
def test_one_broken_device_eats_no_member(
    run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs there fails at once, while the others take their time."""
    monkeypatch.setattr(seats, "PAUSE_SECONDS", 0.2)
    task = tasks.BrokenDevice(str(tmp_path / "log"), "2")
    tally = run(members_of(60, do="sleep", seconds=0.3), task=task, runner=RayRunner(), resources=Resources(gpus=1))
    assert (tally.done, tally.failed) == (60, 0)
    assert max(row["attempts"] for row in read_rows(tmp_path / "campaign")) > 1
