"""Members that ask for other resources than the rest: seats of their own, and no more workers than asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.members_driver import time_limit
from gammasky.distributed.runners.base import Job, Outcome, Running
from gammasky.distributed.runners.connect import check_room, room_on
from gammasky.distributed.runners.inline import InlineSession
from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.runners.several import SeveralSessions
from gammasky.engine.errors import InputError
from gammasky.engine.interrupt import Interrupts

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]
HOPPER = Resources(gpus=1, accelerator="H100")
FEW, MANY = Resources(cpus=1), Resources(cpus=4)


class Holding:
    """A session that ends one job each time it is polled, and notes when it is told to leave its room."""

    def __init__(self, resources: Resources) -> None:
        self.resources, self.jobs = resources, list[Job]()
        self.most = self.left = 0
        self.stopped = False

    def interrupts(self) -> Interrupts:
        return Interrupts()

    def slots(self) -> int:
        return 8 // self.resources.cpus

    def room(self) -> int:
        return 3 - len(self.jobs)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.most = max(self.most, len(self.jobs))

    def poll(self, _seconds: float) -> list[tuple[Job, Outcome]]:
        if not self.jobs:
            return []
        return [(self.jobs.pop(0), Outcome("done"))]

    def running(self) -> list[Running]:
        return [Running(job.key, job.name, 0.0, 0.0, 1, {}, "here", 1) for job in self.jobs]

    def tries_elsewhere(self) -> bool:
        return True

    def leave_room(self) -> None:
        assert not self.jobs
        self.left += 1

    def stop(self) -> None:
        self.stopped = True


def jobs(count: int, resources: Resources | None) -> list[Job]:
    kind = "usual" if resources is None else f"{resources.cpus}"
    return [Job(f"{kind} {n}", f"{kind} {n}", {}, resources=resources) for n in range(count)]


@pytest.mark.parametrize("workers", [None, 2])
def test_each_kind_has_a_session_and_all_of_them_no_more_than_workers(workers: int | None) -> None:
    opened: list[Holding] = []

    def open_one(resources: Resources) -> Any:
        opened.append(Holding(resources))
        return opened[-1]

    several = SeveralSessions(open_one, FEW, [MANY], workers)
    assert [session.resources for session in opened] == [FEW, MANY]
    assert several.slots() == 8
    wanted = [*jobs(5, None), *jobs(5, MANY), *jobs(1, Resources(cpus=2))]
    for job in wanted:
        several.submit(job)
    ended: list[str] = []
    for _ in range(30):
        ended += [job.key for job, _ in several.poll(0.0)]
        at_work = several.running()
        assert at_work is not None
        assert workers is None or len(at_work) <= workers
        assert all(job.resources in (None, session.resources) for session in opened for job in session.jobs)
    assert sorted(ended) == sorted(job.key for job in wanted)
    assert [session.resources for session in opened] == [FEW, MANY, Resources(cpus=2)]  # the last when it was needed
    assert [session.most for session in opened[:2]] == ([3, 3] if workers is None else [2, 2])
    assert opened[-1].left  # it had one job, and the others had more
    several.stop()
    assert all(session.stopped for session in opened)


def asking(members: list[Member], resources: Resources) -> list[Member]:
    """Every second of the members asks for these."""
    return [replace(member, resources=resources) if n % 2 else member for n, member in enumerate(members)]


def test_in_one_process(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    assert run(asking(members_of(6), MANY)).done == 6
    assert [row["square"] for row in read_rows(tmp_path / "campaign")] == [0, 1, 4, 9, 16, 25]


def test_a_kind_that_cannot_be_had_is_refused_before_anything_is_fitted(
    run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path
) -> None:
    members = asking(members_of(4), Resources(gpus=1))
    with pytest.raises(InputError, match=r"^gpus: no device here$"):
        run(members, task=tasks.Told(str(tmp_path / "log")))
    assert not (tmp_path / "log").exists()


@pytest.mark.usefixtures("ray")
def test_on_ray(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """Seats of both kinds, each with its own threads; those of one leave their room to the other."""
    members = asking(members_of(6, do="environment", names=["NUMBA_NUM_THREADS"]), Resources(cpus=2))
    assert run(members, runner=RayRunner(workers=2)).done == 6
    rows = read_rows(tmp_path / "campaign")
    assert [row["NUMBA_NUM_THREADS"] for row in rows] == ["1", "2"] * 3
    with pytest.raises(InputError, match=r"asks for 1 CPUs, 1 GPUs \(H100\) and 0 GB, but no node has that"):
        run(asking(members_of(2), HOPPER), runner=RayRunner(), folder=tmp_path / "b")
    assert not (tmp_path / "b").exists()


class Cluster:
    """Nodes of a Ray that has an autoscaler or not."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "Labels": {}, "Resources": resources} for resources in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes


def test_kinds_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gammasky.distributed.runners.connect.autoscaled", lambda _: False)
    old, new = ({"CPU": 8, "GPU": gpus, f"accelerator_type:{kind}": 1} for gpus, kind in ((2, "A100"), (4, "H100")))
    cluster = Cluster(old, new)
    rooms = [room_on(cluster.nodes(), Resources(gpus=1, accelerator=kind)) for kind in ("", "A100", "H100")]
    assert rooms == [6, 2, 4]
    check_room(cluster, Resources(gpus=1, accelerator="A100"))
    with pytest.raises(InputError, match=r"unknown accelerator 'A10O'; did you mean 'A100'\? \(known: A100, H100\)"):
        check_room(cluster, Resources(gpus=1, accelerator="A10O"))
    with pytest.raises(
        InputError, match=r"asks for 1 CPUs, 1 GPUs \(A100\) and 0 GB, but no node has that \(at most 4"
    ):
        check_room(Cluster({"CPU": 4}), Resources(gpus=1, accelerator="A100"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"accelerator": "A100"}, "accelerator: 'A100' is a kind of GPU; ask for `gpus` too, or leave it out"),
        ({"accelerator": "A 100", "gpus": 1}, "accelerator: expected a name such as 'A100' or 'H100', got 'A 100'"),
        ({"accelerator": 100, "gpus": 1}, "accelerator: expected a name"),
        ({"gpus": 2}, "gpus: a fit runs on one GPU"),
    ],
)
def test_what_no_member_can_be_given(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Resources(**given)


def test_time_limits_are_those_of_the_kind(run: Run, members_of: MembersOf, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, float] = {}
    submit = InlineSession.submit

    def noted(session: InlineSession, job: Job) -> None:
        seen[job.name] = job.limit
        submit(session, job)

    monkeypatch.setattr(InlineSession, "submit", noted)
    run(asking(members_of(2), Resources(hours=3)))
    assert seen == {"number=0": time_limit(Resources(), 1.0), "number=1": 3 * 3600}
