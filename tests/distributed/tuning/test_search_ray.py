"""A search on two workers of Ray."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.tuning.search import tune
from gammasky.distributed.tuning.space import Range


@pytest.mark.slow
def test_two_workers(tmp_path: Path, ray_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", here, prepend=os.pathsep)
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    import ray
    from tuning_tasks import Valley

    before = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        _node_ip_address="127.0.0.1", _temp_dir=ray_folder,
    )  # fmt: skip
    try:
        kill, log, meet = tmp_path / "kill", tmp_path / "log", tmp_path / "meet"
        meet.mkdir()
        kill.write_text(f"{5:8d}")  # the sixth rung kills its worker
        objective, space = Valley(str(log), str(kill), str(meet)), {"x": Range(-10.0, 10.0)}
        found = tune(tmp_path / "study", objective, space, 12, RayRunner(workers=2), about={}, quiet=True)
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)
        sys.modules.pop("tuning_tasks", None)
    assert [trial.number for trial in found.trials] == list(range(12))
    assert {trial.state for trial in found.trials} == {"complete", "pruned"}
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == len({tuple(line[:3]) for line in lines})  # the rung that was lost is done once
    assert len({pid for *_, pid in lines}) >= 2
    assert str(os.getpid()) not in {pid for *_, pid in lines}
