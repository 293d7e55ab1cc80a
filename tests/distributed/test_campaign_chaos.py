"""A campaign on a cluster that loses nodes and workers all the time, and has a full disk: each member is done once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed import driver
from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.folder import Places
from gammasky.distributed.member import Member
from gammasky.distributed.runners.connect import prepare
from gammasky.distributed.runners.ray import RayRunner
from gammasky.distributed.status import read_running
from gammasky.distributed.store import Store
from gammasky.engine import interrupt
from gammasky.engine.errors import GammaskyError

MEMBERS, EVENTS, NODES = 80, 18, 4
FULL_AT = 2  # the event at which the disk is full: early, for fits must end to notice
MOST_GIVEN_UP = 3
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def cluster(tasks: object, ray_folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: ARG001
    """A head and three more nodes, one slot each; and two that are of no use, see `BadNodes`."""
    monkeypatch.setenv("RAY_TMPDIR", ray_folder)  # the cluster notes its address there
    (Path(ray_folder) / "ray").mkdir()
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    prepare("local")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(ray._private.worker, "_worker_logs_enabled", False)

    before = signal.getsignal(signal.SIGTERM)
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": HEALTH}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(NODES - 1):
            new_node(made)
        bad = [new_node(made, env_vars={"NODE": trouble})[0] for trouble in ("bare", "broken")]
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made, bad
    finally:
        ray.shutdown()
        made.shutdown()
        signal.signal(signal.SIGTERM, before)


def new_node(cluster: Any, **options: Any) -> tuple[Any, int]:
    """Another node, and how many before it Ray gave up: it waits for half a minute, too little on a busy machine."""
    for given_up in range(MOST_GIVEN_UP + 1):
        try:
            return cluster.add_node(num_cpus=1, **options), given_up
        except Exception as error:  # Ray raises nothing more precise
            if "timed out during startup" not in str(error) or given_up == MOST_GIVEN_UP:
                raise
    raise AssertionError("unreachable")


class Chaos:
    """Kills workers, replaces nodes, once fills the disk, EVENTS times; notes what was stored and begun before each."""

    def __init__(self, cluster: Any, bad: Sequence[Any], folder: Path, log: Path, full: Path) -> None:
        self._cluster, self._folder, self._log, self._full = cluster, folder, log, full
        self._bad = bad
        self.seen: list[tuple[set[str], int]] = []
        self.killed = self.replaced = self.filled = self.given_up = 0

    def reign(self, campaign: Future[Tally]) -> None:
        rng = random.Random(4)
        while not self._log.exists() and not campaign.done():
            time.sleep(0.05)
        while len(self.seen) < EVENTS and not campaign.done():
            time.sleep(rng.uniform(0.1, 0.5))
            stored = {path.stem for path in (self._folder / "members").glob("[!.]*")}
            self.seen.append((stored, len(self._log.read_text().split())))
            if len(self.seen) - 1 == FULL_AT:
                self._fill()
            elif rng.random() < 0.3:
                self._replace(rng)
            else:
                self._kill(rng)

    def _replace(self, rng: random.Random) -> None:
        nodes = sorted(set(self._cluster.worker_nodes) - set(self._bad), key=lambda node: node.node_id)
        self._cluster.remove_node(rng.choice(nodes), allow_graceful=False)
        self.given_up += new_node(self._cluster, wait=False)[1]
        self.replaced += 1

    def _fill(self) -> None:
        """Until the campaign has ended for it, and somebody has made room."""
        self._full.touch()
        end = time.monotonic() + 60
        while self._full.exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.filled += not self._full.exists()

    def _kill(self, rng: random.Random) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            running = read_running(Places(self._folder))
            for member in rng.sample(running, len(running)):
                try:
                    os.kill(member.pid, signal.SIGKILL)
                except ProcessLookupError:  # it has just ended
                    continue
                self.killed += 1
                return
            time.sleep(0.05)


@pytest.mark.slow
def test_every_member_once_whatever_is_lost(
    run: Callable[..., Tally],
    cluster: Any,
    tasks: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.2)
    monkeypatch.setattr(driver, "ATTEMPTS", EVENTS)  # where few members are left, all that comes hits the same ones
    rng, over, full = random.Random(5), tmp_path / "over", tmp_path / "full"
    specs = [{"number": n, "do": "sleep", "seconds": rng.uniform(0.5, 1.0)} for n in range(MEMBERS)]
    for spec in specs[-NODES:]:  # however fast the machine, the campaign outlasts the chaos
        spec["until"] = str(over)
    members = [Member(f"n{spec['number']}", spec, {}, 1.0) for spec in specs]
    chaos = Chaos(*cluster, tmp_path / "campaign", tmp_path / "log", full)
    task, ends = tasks.BadNodes(str(tmp_path / "log"), str(full)), threading.Event()

    def begin() -> Tally:
        with interrupt.heeding(ends):
            with pytest.raises(GammaskyError, match=r"no room for results: OSError: \[Errno 28\]"):
                run(members, task=task, runner=RayRunner())
            full.unlink()
            return run(members, task=task, runner=RayRunner(), resume=True)

    with ThreadPoolExecutor(1) as pool:  # Ray starts nodes in the main thread only
        campaign = pool.submit(begin)
        try:
            chaos.reign(campaign)
            assert not campaign.done(), f"the campaign ended too early: {campaign.exception()!r}"
        except BaseException:  # the pool would wait for a campaign that waits for `over`
            ends.set()
            raise
        over.touch()
        tally = campaign.result()
    assert (tally.done, tally.failed) == (MEMBERS, 0), [
        path.read_text() for path in Places(tmp_path / "campaign").failed.iterdir()
    ]
    said = [line for line in capsys.readouterr().err.splitlines() if "is set apart" in line]
    assert len(said) == 2  # once in each run
    why = "set apart: task: a worker cannot load it: ModuleNotFoundError: No module named 'gammasky'"
    assert all(why in line for line in said)
    assert chaos.filled == 1
    assert chaos.killed + chaos.replaced + chaos.filled == EVENTS
    assert min(chaos.killed, chaos.replaced) >= 3
    rows = read_rows(tmp_path / "campaign")
    assert [row["square"] for row in rows] == [n**2 for n in range(MEMBERS)]
    assert max(row["attempts"] for row in rows) > 1
    begun = (tmp_path / "log").read_text().split()
    keys = {str(member.spec["number"]): Store.key(member.spec) for member in members}
    slots = NODES + chaos.given_up  # a node that was given up may have come after all
    for stored, before in chaos.seen:
        assert not stored & {keys[number] for number in begun[before + slots :]}, "a stored member was begun again"
    assert not read_running(Places(tmp_path / "campaign"))
    print(
        f"{chaos.killed} workers killed, {chaos.replaced} nodes replaced, {len(begun)} attempts, {tally.seconds:.0f} s"
    )
