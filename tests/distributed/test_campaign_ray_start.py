"""Finding a Ray, starting one, and ending it: addresses where none is, room on its nodes, drivers that are killed."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gammasky.distributed.campaign import Tally, read_rows
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.connect import _answers, _running, _start, room_on
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
Drive = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
Eventually = Callable[..., bool]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_room() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 5.0, "memory": 8e9}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "memory": 1e9}},
    ]
    for resources, room in (
        (Resources(), 9),
        (Resources(cpus=2), 4),
        (Resources(gpus=0.3), 3),
        (Resources(gpus=0.1, cpus=2), 2),
        (Resources(memory_gb=2), 4),
        (Resources(gpus=1, cpus=5), 0),
    ):
        assert room_on(nodes, resources) == room, resources
    several = [{"Alive": True, "Resources": {"CPU": 64.0, "GPU": 4.0}}]
    for gpus, room in ((0.3, 12), (0.5, 8), (0.1, 40), (0.7, 4), (1, 4)):
        assert room_on(several, Resources(gpus=gpus)) == room, gpus


def test_the_note_of_another_user_s_cluster_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text("127.0.0.1:1")

    def private(path: Path, **_options: Any) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(Path, "read_text", private)
    assert _running() is None


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (
            "The current node timed out during startup. This could happen because\nof more lines",
            "The current node timed out during startup; try again, or do without Ray$",
        ),
        (
            "validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /scratch/...",
            "sockets in /scratch/job have names that are too long; set RAY_TMPDIR .or TMPDIR. to .*, such as /tmp$",
        ),
    ],
)
def test_a_ray_that_does_not_start(said: str, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is too busy for Ray's time-outs, or with a long TMPDIR: one line, and no more."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/scratch/job")

    def init(**_options: Any) -> None:
        raise Exception(said)

    with pytest.raises(InputError, match=f"^address: Ray does not start on this machine: .*{match}"):
        _start(ray_that(init), 1, [Resources()])


def ray_that(init: Callable[..., None]) -> SimpleNamespace:
    return SimpleNamespace(init=init, _private=SimpleNamespace(ray_constants=SimpleNamespace(ENABLE_RAY_CLUSTER=True)))


@pytest.mark.slow
def test_no_cluster_there(port: int) -> None:
    """Told before Ray's own minutes of waiting are over, also where something else listens; in a process of no Ray."""
    code = """
import sys
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.connect import connected
from gammasky.engine.errors import InputError
for address in sys.argv[1:]:
    try:
        with connected(address, None, Resources()):
            print("connected")
    except InputError as error:
        print(error)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        addresses = [where, f"ray://127.0.0.1:{port}", "nowhere.invalid:6379", "slurm", "a:b"]
        said = subprocess.run(
            [sys.executable, "-c", code, *addresses], capture_output=True, text=True, timeout=90, check=True
        ).stdout.splitlines()
    assert len(said) == 5
    for line, address in zip(said[:3], addresses, strict=False):
        assert f"no Ray cluster answers at {address}; start one with `ray start --head` or `ray up`" in line
    for line, address in zip(said[3:], addresses[3:], strict=True):
        assert f"'host:port' or 'ray://host:port', got '{address}'" in line


@pytest.mark.slow
@pytest.mark.parametrize("typed", [True, False])
def test_a_cluster_that_scales_from_nothing(typed: bool, ray_folder: str, port: int, eventually: Eventually) -> None:
    """Its head has no room for members, but `ray up` has told it of a type: the autoscaler may start such nodes."""
    code = """
import sys
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.connect import check_room, connected
from gammasky.engine.errors import InputError
try:
    with connected(sys.argv[1], None, Resources()) as ray:
        check_room(ray, Resources(gpus=1))
    print("waits")
except InputError as error:
    print(error)
"""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **token, "RAY_TMPDIR": ray_folder, "RAY_USAGE_STATS_ENABLED": "0"}
    told = {"RAY_enable_autoscaler_v2": "1", "RAY_NODE_TYPE_NAME": "head", "RAY_CLOUD_INSTANCE_ID": "one"}
    address = f"127.0.0.1:{port}"
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=0", "--num-gpus=0"]
    start += [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    head = subprocess.Popen(
        start, env={**environment, **(told if typed else {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert eventually(lambda: _answers(address), seconds=120)
        said = subprocess.run(
            [sys.executable, "-c", code, address],
            env=environment, capture_output=True, text=True, timeout=90, check=True,
        )  # fmt: skip
    finally:
        head.terminate()
        head.wait(timeout=30)
    text = "resources: a member asks for 1 CPUs, 1 GPUs and 0 GB, but no node has that (at most 0 CPUs, 0 GPUs and "
    if typed:
        assert said.stdout == "waits\n"
        assert f"gammasky: warning: {text}" in said.stderr
        assert said.stderr.endswith("; waiting for the autoscaler to start one\n")
    else:
        assert said.stdout.startswith(text)


@pytest.mark.slow
def test_a_driver_that_is_killed_takes_its_ray_along(
    run: Run, drive: Drive, tasks: ModuleType, tmp_path: Path, eventually: Eventually
) -> None:
    """No process of a local Ray stays; another run goes on, and nothing that was stored is run again."""
    folder = tmp_path / "campaign"
    with drive(folder, "", 40, 0.2, where="ray"):
        assert eventually(
            lambda: (folder / "members").exists() and len(list((folder / "members").glob("[!.]*"))) > 5, seconds=120
        )
    pids = {row["pid"] for row in read_rows(folder)}
    assert eventually(lambda: not any(map(alive, pids)))
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "members").glob("[!.]*")}
    members = tasks.timed(40, "sleep", 0.2)
    tally = run(members, resume=True)
    assert tally.done == 40
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "members").glob("[!.]*")}
    assert before.items() <= after.items()
    assert sorted((tmp_path / "log").read_text().split(), key=int) == sorted(
        {str(m.spec["number"]) for m in members if f"{Store.key(m.spec)}.npz" not in before}, key=int
    )


@pytest.mark.slow
def test_a_local_ray_works_and_says_nothing(drive: Drive, tmp_path: Path) -> None:
    """Also of workers that are lost; and its token leaves no file."""
    token = Path.home() / ".ray" / "auth_token"
    was_there = token.exists()
    with drive(tmp_path / "campaign", "", 3, 0.2, deed="die once", where="ray") as driver:
        said = driver.communicate(timeout=60)
    assert (driver.returncode, *said) == (0, "", "")
    assert [row["attempts"] for row in read_rows(tmp_path / "campaign")] == [2, 2, 2]
    assert token.exists() == was_there
