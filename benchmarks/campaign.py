"""Throughput, overhead and memory of campaigns: `python benchmarks/campaign.py [--members 64] [--many 10000]`.

Members do a fixed amount of plain Python work or none at all; see README.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.distributed.campaign import read_rows, run_campaign, status
from gammasky.distributed.member import Desk, Member, Resources, Result
from gammasky.distributed.runners.ray import RayRunner

LOOPS, WORKERS = 7_000_000, 2


def busy(spec: dict[str, Any], _desk: Desk | None) -> Result:
    """Count: about half a second where spec["loops"] is LOOPS."""
    total = 0
    for number in range(spec["loops"]):
        total += number
    return Result({"total": np.array(total)}, {"elbo": float(total % 97), "pid": os.getpid()})


def main() -> None:
    """Run both parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--many", type=int, default=10_000)
    options = parser.parse_args()
    print("| what | value |\n| --- | ---: |")
    print(
        f"| bare loop in {WORKERS} processes, {options.members} members [s] | {(bare := _bare(options.members)):.2f} |"
    )
    for name, value in _campaign(options.members, LOOPS).items():
        print(f"| campaign of {options.members}: {name} | {value:.2f} |", flush=True)
        if name == "seconds from first to last member":
            print(f"| throughput, part of the bare loop | {bare / value:.3f} |", flush=True)
    for name, value in _campaign(options.many, 0).items():
        print(f"| {options.many} members that do nothing: {name} | {value:.2f} |", flush=True)


def _bare(count: int) -> float:
    """The same work without a campaign, its processes started beforehand [s]."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(_nothing, range(WORKERS), chunksize=1)
        began = time.perf_counter()
        pool.map(_bare_member, range(count), chunksize=1)
        return time.perf_counter() - began


def _bare_member(_number: int) -> None:
    busy({"loops": LOOPS}, None)


def _nothing(_number: int) -> None:
    time.sleep(0.5)  # so that each process gets one


def _campaign(count: int, loops: int) -> dict[str, float]:
    """Run a campaign; times with and without the start of its workers, and what the driver needed."""
    members = [Member(f"n{n}", {"number": n, "loops": loops}, {"number": str(n)}, 0.5) for n in range(count)]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "campaign"
        cpu = time.process_time()
        tally = run_campaign(folder, busy, members, Resources(), RayRunner("local", WORKERS), manifest={}, quiet=True)
        cpu = time.process_time() - cpu
        written = sorted(path.stat().st_mtime for path in (folder / "members").iterdir())
        began = written[0] - min(row["wall_seconds"] for row in read_rows(folder))
        asked = time.perf_counter()
        state = status(folder)
        asked = time.perf_counter() - asked
        assert state.done == tally.done == count
        return {
            "seconds, with Ray's start and end": tally.seconds,
            "seconds from first to last member": written[-1] - began,
            "driver's CPU per member [ms]": 1e3 * cpu / count,
            "time per member, all workers [ms]": 1e3 * (written[-1] - began) / count,
            "status [s]": asked,
            "peak memory of the driver [GB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }


if __name__ == "__main__":
    sys.exit(main())
