"""What tests of campaigns share: tasks that workers can import, members, and a campaign run inline."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed.campaign import Tally, run_campaign
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners.inline import InlineRunner


@pytest.fixture(scope="module")
def tasks() -> Iterator[ModuleType]:
    """The module of tasks, on a path that workers started afterwards have too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield __import__("campaign_tasks")
        del sys.modules["campaign_tasks"]


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
