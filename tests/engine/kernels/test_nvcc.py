"""The CUDA sources compiled for GPUs, with warnings as errors, where there is a compiler; no GPU is needed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from gammasky.engine.kernels import gpu
from tests.engine.kernels.host.fake_cupy import parameters_of

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    """The script benchmarks/kernels.py."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc not found")
    spec = importlib.util.spec_from_file_location("kernels_benchmark", CHECKOUT / "benchmarks" / "kernels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("family", gpu.FAMILIES)
def test_compiles_without_warnings_or_spills(family: str, architecture: str, kernels: ModuleType) -> None:
    found = kernels.compiled(family, architecture)
    declared = parameters_of(gpu.source(family))
    assert [use.kernel for use in found] == sorted(declared)
    for use in found:
        assert (use.stores, use.loads) == (0, 0), use


def test_the_table_in_the_docs_is_that_of_the_sources(kernels: ModuleType) -> None:
    text = (CHECKOUT / "docs" / "gpu.md").read_text(encoding="utf-8")
    if f"nvcc {kernels.compiler()}" not in text:
        pytest.skip(f"docs/gpu.md is of another compiler than nvcc {kernels.compiler()}")
    assert kernels.table() in text
