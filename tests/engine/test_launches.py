"""What XLA asks of a GPU does not grow: programs compiled ahead of time, and how they are counted."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import absent

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "launches.py"
#: Launches of one turn of a program's loop, a few above what they were when this was written.
MOST = {"model": 43, "training": 59, "transitions": 58, "svi iaf": 188, "svi flow": 455}

THUNKS = """
000: kCommandBuffer [source       | next=003 (1)]
    001: kCopy         [source | sink] kCopy
    002: kCustomKernel [source | sink] fusion grid: [1, 1, 1] threads: [8, 1, 1]
003: kWhile         [prev=000 (1) | next=211 (1)]
condition:
    004: kCustomKernel [source | sink] compare grid: [1, 1, 1] threads: [1, 1, 1]
  body:
    000: kCommandBuffer [source       | next=049 (1)]
        005: kCustomCall   [prev=088 (1)  | next=090 (1) ] kCustomCall
    006: kWhile         [prev=000 (1) | next=000 (1)]
condition:
      body:
        000: kCommandBuffer [source | sink]
            007: kDynamicSliceFusion [source        | next=063 (2) ] params=1, results=1
                008: kCopy [source | sink] kCopy
            009: kCustomKernel [source | sink] fusion grid: [1, 1, 1] threads: [8, 1, 1]
    010: kSequential    [prev=001 (1)  | next=215 (1)]       011: kCopy            [source       | next=213 (1)] kCopy
      012: kTriangularSolve [prev=212 (1) | sink        ] (no description)
013: kCopy          [prev=026 (4) | sink        ] kCopy
"""
RECORDED = """
000: kCommandBuffer [source | sink]
    001: kCustomKernel [source | sink] fusion grid: [1, 1, 1] threads: [8, 1, 1]
    002: kWhile        [prev=025 (1) | next=228 (1) ]
condition:
      body:
        003: kCustomKernel [source | sink] fusion grid: [1, 1, 1] threads: [8, 1, 1]
"""
HLO = """
%inner_body (p: f64[]) -> f64[] {
  ROOT %x = f64[] add(%p, %p)
}
%outer_body (p: f64[]) -> f64[] {
  %while.2 = (f64[]) while(%t), condition=%c, body=%inner_body, backend_config={"known_trip_count":{"n":"5"}}
}
ENTRY %main (p: f64[]) -> f64[] {
  %while.1 = (f64[]) while(%t), condition=%c, body=%outer_body
}
"""


@pytest.fixture(scope="module")
def launches() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launches_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_loops_by_their_length(launches: ModuleType) -> None:
    trips = launches.trips_of(HLO)
    assert trips == [None, 5]
    found = launches.counted(THUNKS, trips)
    # of a turn: the condition, the call, five times copy and kernel, the solve and its copy
    assert found == launches.Launches(kernels=7, calls=1, copies=6, graphs=6, round_trips=6, once=3)
    assert found.launches == 14


def test_loops_in_a_graph_are_no_round_trips(launches: ModuleType) -> None:
    found = launches.counted(RECORDED, [None])
    assert (found.kernels, found.once, found.round_trips) == (1, 1, 0)
    alone = launches.counted(RECORDED.replace("kWhile", "kCustomKernel"), [])
    assert (alone.kernels, alone.graphs, alone.once) == (3, 1, 0)


@pytest.mark.aot
@pytest.mark.data
@pytest.mark.slow
def test_launches_do_not_grow(fermi_dir: Path) -> None:
    """Compiled for an H100 without one: kernels, copies, graphs and what the host has to decide on the way."""
    plugin = next((name for name in ("13", "12") if importlib.util.find_spec(f"jax_cuda{name}_plugin")), None)
    if plugin is None or shutil.which("nvcc") is None:
        absent("CUDA plugin of JAX and nvcc (see benchmarks/launches.py)", "GAMMASKY_REQUIRE_AOT")
    own = {"GAMMASKY_DATA": str(fermi_dir), "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    command = [sys.executable, str(SCRIPT), "--json", *MOST]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, most in MOST.items():
        of = found[name]
        assert of["kernels"] + of["calls"] + of["copies"] <= most, (name, of)
    assert [found[name]["graphs"] for name in ("model", "svi iaf", "svi flow")] == [1, 1, 1]
    # one is the loop over steps
    assert [found[name]["round_trips"] for name in ("model", "svi iaf", "svi flow")] == [0, 1, 1]
