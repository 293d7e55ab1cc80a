"""Tasks of the campaigns in these tests; worker processes import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gammasky.distributed.member import Desk, Member, Resources, Result
from gammasky.engine.errors import InputError
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.machine import versions


@dataclass(frozen=True)
class Square:
    """Squares the number of a member, after what its `do` says; notes each start in `log`."""

    log: str = ""

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        number = spec["number"]
        if self.log:
            with open(self.log, "a", buffering=1) as file:
                file.write(f"{number}\n")
        row: dict[str, Any] = {"square": number**2, "elbo": -1.5 * number, "pid": os.getpid()}
        row |= DEEDS[spec.get("do", "nothing")](spec, desk) or {}
        if not spec.get("pid"):
            del row["pid"]
        draws = np.random.default_rng(spec.get("seed", number)).normal(size=spec.get("size", (4, 3)))
        return Result({"draws": draws}, row)


@dataclass(frozen=True)
class TroubleOnce(Square):
    """In the first worker that loads it something happens, and that worker is noted in `first`."""

    first: str = ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        try:
            with open(self.first, "x") as file:
                file.write(f"{os.getpid()}\n")
        except FileExistsError:
            return
        self.happen()

    def happen(self) -> None:
        raise NotImplementedError


class FrozenOnce(TroubleOnce):
    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class RayTroubleOnce(TroubleOnce):
    def happen(self) -> None:
        import ray

        raise ray.exceptions.RaySystemError("once")


class Told(Square):
    """Says of each process with what it works, as fits do."""

    def about(self, resources: Resources) -> dict[str, str]:
        if resources.gpus:
            raise InputError("gpus: no device here")
        return {"backend": "none", **versions()}


_at_work: list[Any] = []  # of this process: what each lane works on


class Beside(Square):
    """Says beside how many others a member was at work, and beside how many of another structure."""

    def structure(self, spec: dict[str, Any]) -> str:
        return str(spec.get("structure", ""))

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        mine, most = self.structure(spec), [0, 0]

        def report(fraction: float, **values: float) -> None:
            most[:] = max(most[0], len(_at_work) - 1), max(most[1], sum(other != mine for other in _at_work))
            desk.report(fraction, **values)

        _at_work.append(mine)
        try:
            noting = SimpleNamespace(folder=desk.folder, report=report)
            result = super().__call__(spec, noting)
        finally:
            _at_work.remove(mine)
        result.row |= {"beside": most[0], "others": most[1]}
        return result


@dataclass(frozen=True)
class BadNodes(Square):
    """One node cannot load the task, on another one it fails: each says so in its environment. No result can be stored
    while there is a file `full`.
    """

    full: str = ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        if os.environ.get("NODE") == "bare":
            raise ModuleNotFoundError("No module named 'gammasky'")
        self.__dict__.update(state)

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        if os.environ.get("NODE") == "broken":
            raise RuntimeError("the device is broken")
        result = super().__call__(spec, desk)
        if Path(self.full).is_file():
            raise OSError(28, "No space left on device", str(desk.folder))
        return result


@dataclass(frozen=True)
class BrokenDevice(Square):
    """Fails on one GPU."""

    broken: str = ""

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        if os.environ["CUDA_VISIBLE_DEVICES"] == self.broken:
            raise RuntimeError("the device is broken")
        return super().__call__(spec, desk)


def fail(spec: dict[str, Any], _desk: Desk) -> None:
    raise ValueError(f"number {spec['number']} is no good")


def first_time(desk: Desk) -> bool:
    tried = desk.folder / "tried"
    if tried.exists():
        return False
    tried.touch()
    return True


def die_once(_spec: dict[str, Any], desk: Desk) -> None:
    if first_time(desk):
        os.kill(os.getpid(), signal.SIGKILL)


def die(_spec: dict[str, Any], _desk: Desk) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze_once(spec: dict[str, Any], desk: Desk) -> None:
    if first_time(desk):
        with open(spec["frozen"], "a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGSTOP)


def starve_once(_spec: dict[str, Any], desk: Desk) -> None:
    if first_time(desk):
        raise MemoryError("not enough")


def fill(_spec: dict[str, Any], desk: Desk) -> None:
    """As a checkpoint does on a disk that is full."""
    if os.environ.get("DISK") == "full":
        raise OSError(28, "No space left on device", str(desk.folder / "checkpoint.npz"))


def sleep(spec: dict[str, Any], desk: Desk) -> None:
    end = time.monotonic() + spec["seconds"]
    while (left := end - time.monotonic()) > 0:
        desk.report(1.0 - left / spec["seconds"], elbo=-7.0)
        time.sleep(min(left, 0.05))
    while "until" in spec and not Path(spec["until"]).exists():
        desk.report(1.0, elbo=-7.0)
        time.sleep(0.05)


def stand_still(_spec: dict[str, Any], desk: Desk) -> None:
    """Looks alive, and makes no progress; the first time."""
    desk.report(0.1)
    desk.report(0.2)
    if first_time(desk):
        time.sleep(300)


def heed(spec: dict[str, Any], desk: Desk) -> None:
    """As a fit does: when it is told to end, it writes a checkpoint first."""
    with Interrupts() as interrupts:
        (desk.folder / "began").touch()
        end = time.monotonic() + spec["seconds"]
        while time.monotonic() < end and not interrupts.pending:
            time.sleep(0.05)
        (desk.folder / "checkpoint").write_text("so far")
        interrupts.raise_if_pending()


class _Hook:
    """What is raised as it goes reaches nobody, as in a hook of garbage collection."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __del__(self) -> None:
        if self._seconds:
            time.sleep(self._seconds)  # until the time is up
        else:
            signal.raise_signal(signal.SIGINT)


def interrupted_in_a_hook(spec: dict[str, Any], _desk: Desk) -> None:
    _Hook(spec["seconds"])


def environment(spec: dict[str, Any], _desk: Desk) -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in spec["names"]}


_first_device: list[str] = []  # in this process


def device(spec: dict[str, Any], _desk: Desk) -> dict[str, str]:
    """The device that Ray means now, and the one that CUDA would go on using."""
    now = os.environ["CUDA_VISIBLE_DEVICES"]
    _first_device.append(now)
    (Path(spec["meet"]) / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(os.listdir(spec["meet"])) < 8 and time.monotonic() < end:  # all seats have come
        time.sleep(0.05)
    return {"device_now": now, "device_first": _first_device[0]}


def lines(spec: dict[str, Any], _desk: Desk) -> dict[str, int]:
    return {"lines": len(Path(spec["file"]).read_text().splitlines())}


def checkpoint(_spec: dict[str, Any], desk: Desk) -> dict[str, str]:
    return {"folder": str(desk.folder), "was_there": desk.folder.is_dir()}


def wrong_value(_spec: dict[str, Any], _desk: Desk) -> dict[str, Any]:
    return {"draws": [1, 2]}


def wrong_name(_spec: dict[str, Any], _desk: Desk) -> dict[str, Any]:
    return {"state": "odd"}


DEEDS: dict[str, Callable[[dict[str, Any], Desk], Any]] = {
    "nothing": lambda _spec, _desk: None,
    "fail": fail,
    "die once": die_once,
    "die": die,
    "freeze once": freeze_once,
    "starve once": starve_once,
    "fill": fill,
    "sleep": sleep,
    "heed": heed,
    "interrupted in a hook": interrupted_in_a_hook,
    "stand still": stand_still,
    "environment": environment,
    "checkpoint": checkpoint,
    "lines": lines,
    "device": device,
    "wrong value": wrong_value,
    "wrong name": wrong_name,
}


def timed(count: int, deed: str, seconds: float) -> list[Member]:
    """Members for drivers in processes of their own."""
    specs = ({"number": n, "do": deed, "seconds": seconds, "pid": 1} for n in range(count))
    return [Member(f"n{spec['number']}", spec, {"number": str(spec["number"])}, seconds) for spec in specs]


def no_result(_spec: dict[str, Any], _desk: Desk) -> Any:
    return {"square": 1}


def started(tmp_path: Path) -> list[int]:
    """Numbers of the members that were begun, in that order."""
    return [int(line) for line in (tmp_path / "log").read_text().split()]
