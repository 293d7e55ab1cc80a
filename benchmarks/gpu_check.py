"""One short run on a machine with a GPU: is the CUDA path right, and what does each part cost? See README.md beside it.

    python benchmarks/gpu_check.py               # all of it, six to seven minutes; a table last, logs in OUT
    GPU_CHECK=dry python benchmarks/gpu_check.py    # without a GPU: the same programs on the CPU, a few steps

Workers (`gpu_parts.py`) compile side by side and then wait: the GPU is theirs one at a time, in the order of WORKERS,
so that no time holds another's kernels. A worker that is not ready in time, or outlasts its turn, is ended; the others
go on. OUT, by default gpu_check_out under the folder for temporary files, keeps the logs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

DRY = os.environ.get("GPU_CHECK") == "dry"
OUT = Path(os.environ.get("OUT") or Path(tempfile.gettempdir()) / "gpu_check_out")
BEGAN = time.time()
READY_BY, END_BY = (1e9, 1e9) if DRY else (270.0, 405.0)  # seconds after the beginning
PARTS = Path(__file__).with_name("gpu_parts.py")


class Worker(NamedTuple):
    """What a worker is asked for, XLA's flags besides, and how long its turn may take [s]."""

    arguments: tuple[str, ...]
    seconds: float
    flags: str = ""


TRITON = "--xla_gpu_enable_triton_gemm=true"
AS_XLA_WOULD = f"{TRITON} --xla_gpu_autotune_level=4"  # in place of what `configure` sets
WORKERS = {
    "tests": Worker(("tests",), 100),  # at once, while the others compile: nothing is timed there
    "kernels": Worker(("kernels",), 60),  # and then the tools, while the others compile
    "model": Worker(("model",), 30),
    "profile": Worker(("profile",), 30, "--xla_gpu_enable_command_buffer="),
    "svi iaf": Worker(("svi", "iaf"), 30),
    "svi flow": Worker(("svi", "flow"), 30),
    "model by Triton": Worker(("model",), 20, TRITON),
    "model by XLA's own choice": Worker(("model",), 20, AS_XLA_WOULD),
    "svi flow by XLA's own choice": Worker(("svi", "flow"), 20, AS_XLA_WOULD),
    "nuts": Worker(("nuts",), 20),
    "numba": Worker(("numba",), 20),  # nobody compiles any more
    "fit": Worker(("fit",), 120),
    "lanes": Worker(("lanes",), 240),
}
_OF_NCU = ("SpeedOfLight", "Occupancy", "LaunchStats", "SchedulerStats", "WarpStateStats", "MemoryWorkloadAnalysis")
_TOLD = (
    "Duration", "Registers Per", "Achieved Occ", "L1/TEX Hit", "L2 Hit", "Executed Ipc Active", "Memory Throughput",
    "Compute (SM)", "FP64", "No Eligible", "ERROR SUMMARY", "RACECHECK SUMMARY", "finite", "nptf_",
)  # fmt: skip


def since() -> float:
    """Seconds since the beginning."""
    return time.time() - BEGAN


def say(*words: object) -> None:
    """Print with the time."""
    print(f"[{since():5.0f} s]", *words, flush=True)


class Check:
    """A run: its workers, and a folder in which they leave rows of the table and learn that it is their turn."""

    def __init__(self) -> None:
        self.room = Path(tempfile.mkdtemp(prefix="gpu-check-"))
        asked = os.environ.get("GPU_CHECK_WORKERS", "kernels,model,svi iaf" if DRY else ",".join(WORKERS))
        self.workers = {name: WORKERS[name] for name in asked.split(",")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, name: str) -> dict[str, str]:
        """Of a worker: where it reports, and memory that it shares with the others."""
        flags = [os.environ.get("XLA_FLAGS", ""), self.workers[name].flags if name in self.workers else ""]
        own = {
            "GPU_CHECK_ROOM": str(self.room), "GPU_CHECK_WORKER": name, "GPU_CHECK_BEGAN": str(BEGAN),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "GAMMASKY_REQUIRE_GPU": str(int(not DRY)),
            "XLA_FLAGS": " ".join(flags).strip(),
        }  # fmt: skip
        return {**os.environ, **own}

    def start(self, name: str) -> None:
        """Begin a worker, in a process group of its own."""
        with (self.room / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, str(PARTS), *self.workers[name].arguments], stdout=log, stderr=subprocess.STDOUT,
                env=self.environment(name), start_new_session=True,
            )  # fmt: skip

    def end(self, name: str) -> None:
        """End what is left of a worker."""
        process = self.running[name]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def turn(self, name: str) -> None:
        """Let a worker have the GPU, once it has compiled."""
        process, ready = self.running[name], self.room / f"{name}.ready"
        while process.poll() is None and not ready.exists() and since() < READY_BY:
            time.sleep(0.2)
        if process.poll() is not None or not ready.exists():
            self.told(name, "it is not ready" if process.poll() is None else f"it ended with {process.returncode}")
            return
        (self.room / f"{name}.go").touch()
        begun = since()
        while process.poll() is None and (DRY or since() < min(begun + self.workers[name].seconds, END_BY)):
            time.sleep(0.1)
        say(name, f"had {since() - begun:.0f} s, exit status {process.poll()}")
        if process.poll() != 0:
            self.told(name, "its turn was over" if process.poll() is None else f"it ended with {process.returncode}")

    def told(self, name: str, words: str) -> None:
        """A row of the table for what did not work."""
        say(name, words)
        with (self.room / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, f"FAILED: {words}; see its log", 0.0, ""]) + "\n")

    def tools(self) -> None:
        """Counters of the NPTF kernel and a check of its memory, by the tools of CUDA, where they are there."""
        me = [sys.executable, str(PARTS), "launch"]
        sections = [word for section in _OF_NCU for word in ("--section", section)]
        counted = ["--clock-control", "none", "-k", "regex:nptf", "--launch-skip", "3", "--launch-count", "3"]
        lines = {"ncu": ["ncu", *counted, *sections, *me]}
        lines |= {
            tool: ["compute-sanitizer", "--tool", tool, *me, "small"] for tool in ("memcheck", "racecheck", "initcheck")
        }
        for name, line in lines.items():
            if shutil.which(line[0]) is None or READY_BY - since() < 20:  # the others compile meanwhile
                say(name, "left out: no such program" if shutil.which(line[0]) is None else "left out: no time")
                continue
            try:
                done = subprocess.run(
                    line, capture_output=True, text=True, timeout=40, check=False, env=self.environment("tools")
                )
            except subprocess.TimeoutExpired:
                say(name, "took more than 40 s")
                continue
            words = done.stdout + done.stderr
            (self.room / f"{name}.txt").write_text(words, encoding="utf-8")
            told = [text.strip() for text in words.splitlines() if any(word in text for word in _TOLD)]
            print(f"--- {name} (exit status {done.returncode})", *told, sep="\n")

    def pack(self) -> None:
        """All logs in one file."""
        OUT.mkdir(parents=True, exist_ok=True)
        with tarfile.open(OUT / "logs.tar.gz", "w:gz") as archive:
            for path in sorted(self.room.iterdir()):
                if path.suffix in (".log", ".txt", ".jsonl"):
                    archive.add(path, path.name)

    def table(self) -> str:
        """The table of all rows."""
        rows, lines = self.room / "rows.jsonl", ["| worker | what | value |", "| --- | --- | ---: |"]
        for line in rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []:
            who, what, value, unit = json.loads(line)
            lines.append(f"| {who} | {what} | {value:.5g} {unit} |")
        return "\n".join(lines)

    def run(self) -> int:
        """All of it; the exit status is that of a check: 0 where every worker did what it was asked for."""
        if not DRY:
            asked = "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.draw"
            subprocess.run(["nvidia-smi", asked, "--format=csv"], check=False)
        for name in self.workers:
            self.start(name)
        try:
            for name in self.workers:
                self.turn(name)
                self.end(name)
                self.pack()
                if name == "kernels" and not DRY:
                    self.tools()
        finally:
            for name in self.running:
                self.end(name)
                log = (self.room / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                print(f"--- {name}, the end of its log\n{log[-600:]}")
            self.pack()
            found = self.table()
            (OUT / "table.md").write_text(found + "\n", encoding="utf-8")
            print(f"\n{found}")
            say("done")
            shutil.rmtree(self.room)
        return int("FAILED" in found)


def main() -> None:
    """Run, and end workers also where somebody else ends this."""

    def ended(*_: Any) -> None:
        sys.exit("ended from outside")

    signal.signal(signal.SIGTERM, ended)
    sys.exit(Check().run())


if __name__ == "__main__":
    main()
