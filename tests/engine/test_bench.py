"""The likelihood benchmark: its keys, and numbers that make sense; speed itself is not tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from gammasky.engine.bench import likelihood_benchmark
from gammasky.engine.kernels.threads import thread_count


@pytest.mark.data
@pytest.mark.slow
def test_keys_and_magnitudes(fermi_dir: Path) -> None:
    result = likelihood_benchmark("fermi", fermi_dir, 2, 2)
    assert list(result) == ["model_ms_per_particle", "op_ms_per_particle", "reference_ratio", "particles", "threads"]
    assert result["particles"] == 2
    assert result["threads"] == thread_count()
    assert 0.01 < result["op_ms_per_particle"] < 100
    assert 0.01 < result["model_ms_per_particle"] < 100
    assert result["reference_ratio"] > 10
