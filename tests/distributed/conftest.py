"""What tests of campaigns share: tasks that workers can import, members, and a campaign run inline."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed import driver
from gammasky.distributed.campaign import Tally, run_campaign
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners.connect import prepare, start
from gammasky.distributed.runners.inline import InlineRunner


@pytest.fixture(scope="module")
def tasks(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module of tasks beside the tests, on a path that workers started afterwards have too."""
    folder = request.path.parent
    (name,) = (path.stem for path in folder.glob("*_tasks.py"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield __import__(name)
        del sys.modules[name]


@pytest.fixture(scope="module")
def ray(tasks: ModuleType, ray_folder: str) -> Iterator[ModuleType]:  # noqa: ARG001  workers get the path of the tasks
    """A local Ray of two slots, which all campaigns and searches of a module use."""
    with local_ray(ray_folder, num_cpus=2) as ray:
        yield ray


@contextmanager
def local_ray(folder: str, **resources: int) -> Iterator[ModuleType]:
    """A Ray with these resources, also with GPUs that are not there; as campaigns start one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        prepare("local")
        import ray

        before = signal.getsignal(signal.SIGTERM)
        start(ray, _temp_dir=folder, **resources)
        yield ray
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def ray_with_gpus(tasks: ModuleType, ray_folder: str) -> Iterator[ModuleType]:  # noqa: ARG001
    """A local Ray of eight slots and four GPUs; neither need be there."""
    with local_ray(ray_folder, num_cpus=8, num_gpus=4) as ray:
        yield ray


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long wait before a member is tried again."""
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.1)


@pytest.fixture
def drive(tasks: ModuleType, ray_folder: str) -> Callable[..., AbstractContextManager[subprocess.Popen[str]]]:
    """`with drive(folder, log, count, seconds) as process`: a driver in another process, ended when this is left."""
    assert tasks  # on the path of processes

    @contextmanager
    def started(
        folder: Path, log: object, count: int, seconds: float, how: str = "new", *, deed: str = "sleep",
        where: str = "inline",
    ) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
        program = Path(__file__).with_name("campaign_driver.py")
        words = map(str, (sys.executable, program, folder, log, count, deed, seconds, where, how))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        with subprocess.Popen(
            list(words), env={**environment, "RAY_TMPDIR": ray_folder},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    return started


@pytest.fixture(scope="session")
def eventually() -> Callable[..., bool]:
    """`eventually(condition)`: whether a condition comes true within half a minute.

    What waits for processes to start gives them longer: on a busy machine a Ray alone may take that long.
    """

    def wait(condition: Callable[[], object], seconds: float = 30.0) -> bool:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        return bool(condition())

    return wait


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine that nobody else is given; a server that a test starts may listen there."""
    with socket.socket() as held:  # bound without listening, which keeps out nobody that asks for this very port
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[str]:
    """Where a Ray keeps its files; in the end, what is left of it is ended and removed."""
    folder = tempfile.mkdtemp(prefix="gs", dir="/tmp")  # names of sockets must be short
    yield folder
    while left := [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if folder in said_by(path)]:
        for process in left:  # workers of nodes that were killed
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder)


def said_by(cmdline: Path) -> str:
    try:
        return cmdline.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture(scope="session")
def members_of() -> Callable[..., list[Member]]:
    """`members_of(5)` or `members_of([1, 4], do="fail")`: members that square these numbers."""

    def build(numbers: int | Sequence[int], *, cost: float = 1.0, **more: Any) -> list[Member]:
        chosen = range(numbers) if isinstance(numbers, int) else numbers
        deed = f",do={more['do']}" if "do" in more else ""
        return [
            Member(
                f"number={n}{deed}", {"number": n, **more}, {"number": str(n), "parity": ("even", "odd")[n % 2]}, cost
            )
            for n in chosen
        ]

    return build


@pytest.fixture
def run(tmp_path: Path, tasks: ModuleType) -> Callable[..., Tally]:
    """Run members in tmp_path/campaign, inline and quietly unless told otherwise; starts are noted in tmp_path/log."""

    def start(members: Sequence[Member], **options: Any) -> Tally:
        folder = options.pop("folder", tmp_path / "campaign")
        task = options.pop("task", tasks.Square(str(tmp_path / "log")))
        resources = options.pop("resources", Resources())
        runner = options.pop("runner", InlineRunner())
        settings = {"manifest": {"about": "squares"}, "quiet": True, **options}
        return run_campaign(folder, task, members, resources, runner, **settings)

    return start
