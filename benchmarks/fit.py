"""Time and memory of a whole fit by method svi: `python benchmarks/fit.py [fit options]`; see README.md."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(options: list[str]) -> None:
    """Run `gammasky fit` twice (the second finds warm caches) and print one row for each run."""
    print("| run | first step [s] | fit [s] | whole command [s] | steps/s | ELBO | peak memory [GB] |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for run in ("first", "second"):
        with tempfile.TemporaryDirectory() as folder:
            print(_row(run, [*options, "--out", str(Path(folder) / "fit")], Path(folder) / "fit"), flush=True)


def _row(run: str, options: list[str], out: Path) -> str:
    began = time.perf_counter()
    line = [sys.executable, "-m", "gammasky", "fit", "--method", "svi", "--no-emulator", *options]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        first = next(time.perf_counter() - began for text in process.stderr if text.startswith("gammasky: step"))
        rest = process.stderr.read()
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(line)} failed: {rest}")
    info = json.loads((out / "summary.json").read_text())["fit"]
    rate = info["steps_done"] / (info["fit_seconds"] - first) if info["fit_seconds"] > first else float("nan")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    numbers = (first, info["fit_seconds"], wall, rate, info["elbo"], memory)
    return f"| {run} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |"


if __name__ == "__main__":
    main(sys.argv[1:] or ["fiducial", "--data", "fermi"])
