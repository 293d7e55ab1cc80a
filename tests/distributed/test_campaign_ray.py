"""Campaigns on Ray: the same results as in one process, workers used again, lost and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.distributed import driver
from gammasky.distributed.campaign import Tally, load_member, read_rows, status
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners import hub
from gammasky.distributed.runners.base import Running, Work
from gammasky.distributed.runners.ray import GRACE_SECONDS, RayRunner, RaySession
from gammasky.distributed.runners.seat import environment, seat_class
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
Eventually = Callable[..., bool]
MembersOf = Callable[..., list[Member]]


@pytest.mark.usefixtures("ray")
def test_the_same_results_as_in_one_process(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of(6), *members_of([7], do="fail")]
    run(members, folder=tmp_path / "here")
    tally = run(members, folder=tmp_path / "ray", runner=RayRunner())
    assert (tally.total, tally.done, tally.failed) == (7, 6, 1)
    for member in members[:6]:
        one, other = (load_member(tmp_path / where, Store.key(member.spec)) for where in ("here", "ray"))
        np.testing.assert_array_equal(one.arrays["draws"], other.arrays["draws"])
        assert one.row == other.row
    rows = {where: read_rows(tmp_path / where) for where in ("here", "ray")}
    for row in [*rows["here"], *rows["ray"]]:
        row.pop("wall_seconds", None)
    assert [rows[where][6].pop("attempts") for where in ("here", "ray")] == [1, 2]  # on Ray on two seats
    assert rows["here"] == rows["ray"]
    assert rows["ray"][6]["error"] == "ValueError: number 7 is no good"


@pytest.mark.usefixtures("ray")
def test_many_members_in_few_workers(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a member wakes the driver: were it to look now and then, two seats would take 150 looks at least."""
    monkeypatch.setattr(driver, "POLL_SECONDS", 3.0)
    began = time.monotonic()
    tally = run(members_of(300, pid=1), runner=RayRunner())
    assert tally.done == 300
    assert time.monotonic() - began < 50 * driver.POLL_SECONDS  # a busy machine takes 50 s
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(300))
    pids = {row["pid"] for row in read_rows(tmp_path / "campaign")}
    assert 1 <= len(pids) <= 2  # a seat's process is the same for all its members
    assert os.getpid() not in pids


@pytest.mark.usefixtures("ray")
def test_workers_have_their_threads(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    names = ["NPROC", "NUMBA_NUM_THREADS", "GAMMASKY_NUM_THREADS", "PYTHONHASHSEED", "JAX_PLATFORMS"]
    run(members_of([1], do="environment", names=names), runner=RayRunner(workers=1), resources=Resources(cpus=2))
    (row,) = read_rows(tmp_path / "campaign")
    assert [row[name] for name in names] == ["2", "2", "2", "0", "cpu"]


def test_environment_of_gpu_members() -> None:
    told = environment(Resources(gpus=0.25))
    assert (told["JAX_PLATFORMS"], told["GAMMASKY_BACKEND"]) == ("cuda,cpu", "cuda")  # or an error, never the CPU alone
    assert environment(Resources(gpus=0.25))["XLA_CLIENT_MEM_FRACTION"] == "0.225"
    assert environment(Resources(gpus=1))["XLA_CLIENT_MEM_FRACTION"] == "0.900"
    assert "XLA_CLIENT_MEM_FRACTION" not in environment(Resources(cpus=3))


class Asked:
    """A Ray that notes what is asked of it."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def remote(self, _kind: type) -> Any:
        def note(**options: Any) -> Any:
            self.options = options
            actor = SimpleNamespace(open=SimpleNamespace(remote=lambda *_arguments: "reference"))
            return SimpleNamespace(remote=lambda: actor)

        return SimpleNamespace(options=note)


def test_what_a_seat_asks_of_the_cluster(tmp_path: Path) -> None:
    """All the resources of a member, no restart of Ray's own, and none of the nodes that are set apart."""
    asked, session = Asked(), RaySession.__new__(RaySession)
    session._ray, session._hub, session._pickled = asked, None, None
    session._work = Work(print, tmp_path, Resources(cpus=3, gpus=0.25, memory_gb=1.5))  # type: ignore[arg-type]
    session._open("seat 1", [])
    wanted = {"num_cpus": 3, "num_gpus": 0.25, "memory": 1_500_000_000, "max_restarts": 0, "max_task_retries": 0}
    assert asked.options == {**wanted, "runtime_env": {"env_vars": environment(session._work.resources)}}
    session._open("seat 2", ["a", "b"])
    assert asked.options["label_selector"] == {"ray.io/node-id": "!in(a,b)"}
    session._work = Work(print, tmp_path, Resources(gpus=1, accelerator="A100"))  # type: ignore[arg-type]
    session._open("seat 3", [])
    assert asked.options["accelerator_type"] == "A100"


@pytest.mark.usefixtures("ray", "quick")
def test_a_lost_worker_is_replaced(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of([1], do="die once"), *members_of([2]), *members_of([3], do="starve once")]
    tally = run(members, runner=RayRunner())
    assert (tally.done, tally.failed) == (3, 0)
    assert [row["attempts"] for row in read_rows(tmp_path / "campaign")] == [2, 1, 2]
    assert sorted((tmp_path / "log").read_text().split()) == ["1", "1", "2", "3", "3"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray", "quick")
def test_a_member_that_kills_every_worker(
    run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ATTEMPTS", 2)
    members = [*members_of([1], do="die"), *members_of([2])]
    assert run(members, runner=RayRunner()).failed == 1
    row = read_rows(tmp_path / "campaign")[0]
    assert (row["state"], row["attempts"]) == ("failed", 2)
    assert row["error"].startswith("lost 2 times, last: ActorDiedError: ")
    assert run(members, runner=RayRunner(), resume=True).failed == 1
    assert (tmp_path / "log").read_text().split().count("1") == 4  # it was not to blame: a later run tries again


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_member_that_takes_too_long_ends_its_worker(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = [*members_of([1], do="sleep", seconds=300.0), *members_of([2])]
    began = time.monotonic()
    tally = run(members, runner=RayRunner(), resources=Resources(hours=1 / 3600))
    assert time.monotonic() - began < 200  # 600 s if it slept to its end, twice
    assert (tally.done, tally.failed) == (1, 1)
    rows = read_rows(tmp_path / "campaign")
    assert rows[0]["error"].startswith("took longer than its time limit of ")
    assert (tmp_path / "log").read_text().split().count("1") == 2  # a device may have hung: on another seat, once


@pytest.mark.usefixtures("ray")
def test_progress_is_seen_from_elsewhere(
    run: Run, members_of: MembersOf, tmp_path: Path, eventually: Eventually
) -> None:
    """It goes through the cluster to the driver, which writes it down for others."""
    folder, over, seen = tmp_path / "campaign", tmp_path / "over", list[Running]()

    def look() -> bool:
        seen[:] = status(folder).running if (folder / "manifest.json").exists() else []
        return len(seen) == 2 and all(member.fraction > 0.5 for member in seen)

    def watch_them() -> None:
        try:
            eventually(look, 60)
        finally:
            over.touch()  # members wait for it

    watcher = threading.Thread(target=watch_them)
    watcher.start()
    assert run(members_of(2, do="sleep", seconds=0.2, until=str(over)), runner=RayRunner()).done == 2
    watcher.join()
    assert [(member.name[:8], member.fraction, member.values) for member in seen] == [
        ("number=0", 1.0, {"elbo": -7.0}),
        ("number=1", 1.0, {"elbo": -7.0}),
    ]
    assert all(member.pid != os.getpid() for member in seen)
    assert not (folder / "running.json").exists()


@pytest.mark.usefixtures("ray")
def test_an_interrupt_ends_the_members_which_keep_checkpoints(
    run: Run, members_of: MembersOf, tmp_path: Path, eventually: Eventually
) -> None:
    members = [*members_of(3), *members_of(range(3, 9), do="heed", seconds=60.0)]
    folder = tmp_path / "campaign"

    def interrupt() -> None:
        def two_are_at_work() -> bool:
            return status(folder).done == 3 and len(list((folder / "scratch").glob("*/began"))) == 2

        if eventually(lambda: (folder / "members").exists() and two_are_at_work()):
            told.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    told: list[float] = []
    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        run(members, runner=RayRunner())
    sender.join()
    assert time.monotonic() - told[0] < 0.8 * GRACE_SECONDS  # they heard of it, and were not ended for being deaf
    assert status(folder).done == 3
    assert len(read_rows(folder)) == 3
    assert len(list((folder / "scratch").glob("*/checkpoint"))) == 2
    assert run(members_of(2), folder=tmp_path / "next", runner=RayRunner()).done == 2  # the slots are free


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("resources", "match"),
    [
        (
            Resources(gpus=1),
            r"^resources: a member asks for 1 CPUs, 1 GPUs and 0 GB, but no node has that \(at most 2 C",
        ),
        (Resources(cpus=64), r"^resources: a member asks for 64 CPUs, 0 GPUs and 0 GB, but no node has that"),
        (Resources(memory_gb=1e6), r" and 1e\+06 GB, but no node has that .*; ask for less, or add such a node$"),
    ],
)
def test_more_than_any_node_has(run: Run, members_of: MembersOf, resources: Resources, match: str) -> None:
    with pytest.raises(InputError, match=match):
        run(members_of(1), runner=RayRunner(), resources=resources)


@pytest.mark.usefixtures("ray")
def test_a_task_that_cannot_be_sent_or_loaded(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^task: expected something that can be pickled: "):
        run(members_of(1), runner=RayRunner(), task=threading.Lock(), folder=tmp_path / "a")
    with pytest.raises(
        InputError, match=r"^task: a worker cannot load it: .*; install the same gammasky on every node"
    ):
        run(members_of(1), runner=RayRunner(), task=Unloadable(), folder=tmp_path / "b")


def test_a_node_that_does_not_see_the_folder(ray: ModuleType, tmp_path: Path) -> None:
    """It says so when a seat opens there, before any member is lost."""
    central = hub.start_hub(ray)
    actor = ray.remote(num_cpus=0)(seat_class()).remote()
    said = ray.get(actor.open.remote("seat 1", str(tmp_path / "away"), central, [ray.put(b"")]))
    assert said["node"] == ray.get_runtime_context().get_node_id()
    assert said["apart"].startswith(f"folder: a worker does not see {tmp_path}/away on ")
    assert not (tmp_path / "away").exists()
    for process in (actor, central):
        ray.kill(process)


@pytest.mark.usefixtures("ray")
def test_a_node_in_trouble_ends_no_campaign(run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path) -> None:
    """A seat that Ray cannot give the task is opened again."""
    task = tasks.RayTroubleOnce(str(tmp_path / "log"), str(tmp_path / "once"))
    assert run(members_of(3), runner=RayRunner(), task=task).done == 3
    assert (tmp_path / "once").exists()
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2"]


class Unloadable:
    def __reduce__(self) -> tuple[object, ...]:
        return (__import__, ("no_such_module",))


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def listening(pids: set[int]) -> set[str]:
    """Addresses on which they wait for connections, as the kernel writes them."""
    sockets = set()
    for path in (path for pid in pids for path in Path(f"/proc/{pid}/fd").glob("*")):
        with suppress(FileNotFoundError):
            sockets.add(os.readlink(path).removeprefix("socket:[").removesuffix("]"))
    tables = (Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets}


def test_nobody_else_reaches_a_local_ray(ray: ModuleType) -> None:
    """All its servers listen on this machine alone, and who has not its token is refused."""
    ray.get(ray.remote(num_cpus=0)(family).remote(1))  # a worker listens, too
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    addresses = listening(family(os.getpid()))
    assert addresses
    assert addresses <= loopback
    code = "import sys, ray; ray._raylet.GcsClient(address=sys.argv[1]).internal_kv_keys(b'', b'')"
    words = [sys.executable, "-c", code, ray.get_runtime_context().gcs_address]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    other = {**os.environ, "RAY_AUTH_TOKEN": "f" * 64}
    said = subprocess.run(words, env=other, capture_output=True, text=True, timeout=60)
    assert "Unauthenticated" in said.stderr


@pytest.mark.usefixtures("ray")
def test_another_address_when_connected(run: Run, members_of: MembersOf) -> None:
    with pytest.raises(InputError, match=r"connected in this process already; expected 'auto', got 'local'$"):
        run(members_of(1), runner=RayRunner("local"))


@pytest.mark.parametrize("workers", [0, 1.5, True, "2"])
def test_bad_number_of_workers(workers: object) -> None:
    with pytest.raises(InputError, match=r"^workers: expected a whole number of at least 1, got "):
        RayRunner("auto", workers)  # type: ignore[arg-type]
