"""Objectives of the searches in these tests; worker processes import them by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammasky.distributed.member import Desk, Resources, Result
from gammasky.distributed.tuning.rung import Reached, TrialDesk
from gammasky.engine.machine import versions

EFFORT = 80  # steps of a whole trial
GOOD = False  # whether what fails has been put right since


@dataclass(frozen=True)
class Valley:
    """A parabola, lowest (0) at x = 3, approached step by step; each step is noted in `log`."""

    log: str
    kill_at: str = ""  # a file that says how many more rungs this process may do before it is killed
    meet: str = ""  # a folder in which a first rung waits for that of another process

    def __call__(self, params: dict[str, Any], share: float, desk: TrialDesk) -> Reached:
        if self.meet:
            self._wait_for_another()
        if self.kill_at:
            self._die_in_time()
        done = desk.folder / "done"
        before, until = int(done.read_text()) if done.exists() else 0, round(share * EFFORT)
        x = params["x"]
        with open(self.log, "a", buffering=1) as file:
            file.write(f"{x} {before} {until} {os.getpid()}\n")
        if params.get("do") == "run away":
            return Reached(None, why="ran away")
        if params.get("do") == "fail" and not GOOD:
            raise ValueError("no good")
        done.write_text(str(until))
        return Reached(-((x - 3.0) ** 2) - 1.0 / until, ended=params.get("do") == "short", row={"steps": until})

    def _wait_for_another(self) -> None:
        (Path(self.meet) / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(Path(self.meet).iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)

    def _die_in_time(self) -> None:
        with open(self.kill_at, "r+") as file:
            left = int(file.read())
            file.seek(0)
            file.write(f"{left - 1:8d}")
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Told(Valley):
    """Says of each process with what it works, as fits do."""

    def about(self, resources: Resources) -> dict[str, str]:
        return {"backend": f"{resources.gpus:g} GPUs", **versions()}


def wrong_value(_params: dict[str, Any], _share: float, _desk: TrialDesk) -> Any:
    return 3.0


def interrupted_once(params: dict[str, Any], _share: float, desk: TrialDesk) -> Reached:
    """As Ctrl-C does, in the middle of a rung; only the first time."""
    again = desk.folder / "again"
    if not again.exists():
        again.touch()
        raise KeyboardInterrupt
    return Reached(float(params["x"]))


@dataclass(frozen=True)
class Bowl:
    """A fit whose row holds simple functions of its numbers; each is noted in `log`."""

    log: str
    kill_at: int = 0  # this process is killed by the fit of that number, from 1

    def structure(self, _spec: dict[str, Any]) -> str:
        return "all alike"

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        desk.report(0.5)
        with open(self.log, "a", buffering=1) as file:
            file.write(f"{spec}\n")
        if self.kill_at and len(Path(self.log).read_text().splitlines()) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x, y = spec["x"], spec.get("y", 0.0)
        if spec.get("kind") == "fails" and not GOOD:
            raise ValueError("no good")
        row: dict[str, Any] = {
            "left": (x + 2.0) ** 2 + y,
            "right": (x - 2.0) ** 2 + y,
            "log_z": -(x**2),
            "verdict": "unreliable" if x > 5 else "reliable",
            "data": f"sky {x > 0}",
        }
        return Result({}, row if spec.get("kind") != "bare" else {"verdict": "reliable", "data": "sky"})
