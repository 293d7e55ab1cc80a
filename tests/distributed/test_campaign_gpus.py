"""Campaigns on GPUs, on a Ray that is told of four: what counts is which of them a process is given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners import seats
from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.runners.seat import environment
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]


@pytest.mark.usefixtures("ray_with_gpus")
def test_a_process_holds_one_share_of_one_device_for_life(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """CUDA keeps the devices that a process saw first; so all members of a process must be meant for those."""
    (meet := tmp_path / "meet").mkdir()
    members = members_of(40, do="device", meet=str(meet), pid=1)
    assert run(members, runner=RayRunner(), resources=Resources(gpus=0.5)).done == 40
    seen: dict[int, set[str]] = defaultdict(set)
    for row in read_rows(tmp_path / "campaign"):
        seen[row["pid"]].add(row["device_now"])
        assert row["device_now"] == row["device_first"]
    assert all(len(devices) == 1 for devices in seen.values())
    shares = [sum(devices == {gpu} for devices in seen.values()) for gpu in "0123"]
    assert shares == [2, 2, 2, 2]  # the whole of each device, and no more


@pytest.mark.usefixtures("ray_with_gpus")
def test_members_that_find_no_device_are_refused(run: Run, members_of: MembersOf, tasks: ModuleType) -> None:
    """They do not run on the CPU in silence: a node without it is set apart, and here that is each of them."""
    with pytest.raises(InputError, match=r"^gpus: no device here \(.*\)$"):
        run(members_of(3), task=tasks.Told(), runner=RayRunner(), resources=Resources(gpus=1))


def test_a_fit_that_was_promised_a_gpu_gets_one_or_is_refused() -> None:
    task = EnsembleTask((), "fiducial")
    about = task.about(Resources())
    assert {"backend", "device", "version_gammasky", "version_jax", "version_jaxlib", "version_numba"} <= about.keys()
    if about["backend"] == "cuda":
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match=r"^gpus: 0.5 asked for, but the kernels would run on the CPU here"):
        task.about(Resources(gpus=0.5))


def test_nothing_falls_back_in_the_environment_of_a_seat_with_a_gpu() -> None:
    """Where there is none: the kernels refuse, too, whoever asks them."""
    code = "from gammasky.engine.kernels.callbacks import choose; choose('auto')"
    asked = "import gammasky.engine.machine as here; here.machine(0.5)"
    environ = {**os.environ, **environment(Resources(gpus=0.5)), "CUDA_VISIBLE_DEVICES": ""}
    for words, line in (
        (code, "InputError: "),
        (asked, "InputError: gpus: 0.5 asked for, but none can be used here: "),
    ):
        said = subprocess.run([sys.executable, "-c", words], env=environ, capture_output=True, text=True, timeout=120)
        assert said.returncode == 1
        assert line in said.stderr


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
