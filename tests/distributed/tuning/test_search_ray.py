"""A search on two workers of Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.tuning.search import Found


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_two_workers(search: Callable[..., Found], tasks: ModuleType, tmp_path: Path) -> None:
    kill, log, meet = tmp_path / "kill", tmp_path / "log", tmp_path / "meet"
    meet.mkdir()
    kill.write_text(f"{5:8d}")  # the sixth rung kills its worker
    found = search(12, objective=tasks.Valley(str(log), str(kill), str(meet)), runner=RayRunner(workers=2))
    assert [trial.number for trial in found.trials] == list(range(12))
    assert {trial.state for trial in found.trials} == {"complete", "pruned"}
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == len({tuple(line[:3]) for line in lines})  # the rung that was lost is done once
    assert len({pid for *_, pid in lines}) >= 2
    assert str(os.getpid()) not in {pid for *_, pid in lines}
