"""Executors: the same results whatever runs them, errors that name their member, and no process left behind."""

from __future__ import annotations

import functools
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gammasky.distributed.executor import (
    Executor,
    MemberError,
    MemberInputError,
    ProcessExecutor,
    SerialExecutor,
    WorkerTraceback,
)
from gammasky.engine.errors import InputError

EXECUTORS = [SerialExecutor(), ProcessExecutor(1), ProcessExecutor(3)]

TASKS = """
import os, time
from gammasky.engine.errors import InputError

class TwoWords(Exception):  # cannot be unpickled: pickle calls it with one argument
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")

class Counting:
    calls = 0
    def __call__(self, member):
        self.calls += 1
        return self.calls

def invalid(member):
    raise InputError(f"template: expected positive values, got {member}")

def odd(member):
    raise TwoWords("odd", member)

def leave(member):
    os._exit(7)

def slow_first(member):
    time.sleep(1.0 if member == 0 else 0.0)
    return member

def environment(names):
    return {name: os.environ.get(name) for name in names}

def large(n):
    return bytes(n)

def lasting(folder):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(60)
"""

DRIVER = """
import sys
from gammasky.distributed.executor import ProcessExecutor
import member_tasks

if __name__ == "__main__":
    try:
        for _ in ProcessExecutor(2).run(member_tasks.lasting, [sys.argv[1]] * 5):
            pass
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A module of tasks that spawned processes can import."""
    (tmp_path / "member_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("member_tasks")
    del sys.modules["member_tasks"]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that awaits its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: object, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(condition())  # type: ignore[operator]


@pytest.mark.parametrize("executor", EXECUTORS, ids=["serial", "1 process", "3 processes"])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_every_member_once_with_its_index(executor: Executor, n: int) -> None:
    members = [float(100 + i) for i in range(n)]
    results = list(executor.run(math.sqrt, members))
    assert len(results) == n
    assert dict(results) == {i: math.sqrt(100 + i) for i in range(n)}


def test_results_come_as_they_finish(tasks: object) -> None:
    assert [i for i, _ in SerialExecutor().run(tasks.slow_first, [0, 1, 2])] == [0, 1, 2]
    parallel = list(ProcessExecutor(2).run(tasks.slow_first, range(6)))
    assert dict(parallel) == {i: i for i in range(6)}
    assert parallel[-1] == (0, 0)


def test_large_members_and_results(tasks: object) -> None:
    results = dict(ProcessExecutor(2).run(tasks.large, [3_000_000, 0, 1_000_000]))
    assert {i: len(data) for i, data in results.items()} == {0: 3_000_000, 1: 0, 2: 1_000_000}
    assert dict(ProcessExecutor(2).run(len, [b"x" * 2_000_000] * 3)) == dict.fromkeys(range(3), 2_000_000)


def test_a_task_is_kept_between_the_members_of_a_process(tasks: object) -> None:
    assert sorted(calls for _, calls in ProcessExecutor(1).run(tasks.Counting(), range(4))) == [1, 2, 3, 4]


def test_workers_are_other_processes_and_are_reused() -> None:
    pids = [pid for _, pid in ProcessExecutor(2).run(eval, ["__import__('os').getpid()"] * 6)]
    assert os.getpid() not in pids
    assert 1 <= len(set(pids)) <= 2
    assert eventually(lambda: not any(map(alive, pids)))


def test_threads_are_shared_out(tasks: object, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("GAMMASKY_NUM_THREADS", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = dict(os.environ)
    for total, workers, each in (("7", 2, "3"), ("1", 2, "1")):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", total)
        ((_, seen),) = ProcessExecutor(workers).run(tasks.environment, [names])
        assert seen == dict.fromkeys(names, each)
    monkeypatch.undo()
    assert {name: os.environ.get(name) for name in names} == {name: before.get(name) for name in names}


@pytest.mark.parametrize("executor", EXECUTORS, ids=["serial", "1 process", "3 processes"])
def test_an_error_names_its_member_and_keeps_its_traceback(executor: Executor) -> None:
    with pytest.raises(MemberError, match=r"^member 2: ValueError: ") as caught:
        list(executor.run(math.sqrt, [1.0, 4.0, -1.0]))
    assert caught.value.index == 2
    assert not isinstance(caught.value, MemberInputError)
    original = caught.value.__cause__
    assert type(original) is ValueError
    if not isinstance(executor, SerialExecutor):
        assert isinstance(original.__cause__, WorkerTraceback)
        assert "Traceback (most recent call last)" in str(original.__cause__)


@pytest.mark.parametrize("executor", [SerialExecutor(), ProcessExecutor(1)], ids=["serial", "process"])
def test_an_error_of_the_user_stays_one(executor: Executor, tasks: object) -> None:
    with pytest.raises(MemberInputError, match=r"^member 0: template: expected positive values, got -3$") as caught:
        list(executor.run(tasks.invalid, [-3]))
    assert isinstance(caught.value.__cause__, InputError)


def test_an_error_that_cannot_be_sent_is_told(tasks: object) -> None:
    with pytest.raises(MemberError, match=r"^member 0: member_tasks\.TwoWords: odd 5$") as caught:
        list(ProcessExecutor(1).run(tasks.odd, [5]))
    assert "in odd" in str(caught.value.__cause__)


def test_a_process_that_ends_is_told(tasks: object) -> None:
    with pytest.raises(MemberError, match=r"^member 0: its process ended with exit code 7$"):
        list(ProcessExecutor(1).run(tasks.leave, ["a"]))
    with pytest.raises(MemberError, match=r"^member 1: .* exit code -9; the system may have been short of memory$"):
        list(ProcessExecutor(1).run(eval, ["1", "__import__('os').kill(__import__('os').getpid(), 9)"]))


def test_what_cannot_be_pickled_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"^task: expected something that can be pickled .*, got function: "):
        list(ProcessExecutor(1).run(lambda member: member, [1]))
    with pytest.raises(InputError, match=r"^member 1: expected something that can be pickled .*, got generator: "):
        list(ProcessExecutor(2).run(str, ["a", (i for i in "ab")]))


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_bad_number_of_workers(workers: object) -> None:
    with pytest.raises(InputError, match=r"^workers: expected a whole number of at least 1, got "):
        ProcessExecutor(workers)  # type: ignore[arg-type]


@pytest.mark.usefixtures("tasks")
def test_closing_the_iterator_ends_what_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    members = ["1", *[f"__import__('member_tasks').lasting({str(started)!r})"] * 4]
    results = ProcessExecutor(2).run(eval, members)
    assert next(results) == (0, 1)
    assert eventually(lambda: len(list(started.iterdir())) == 2)
    begin = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 10
    pids = [int(path.name) for path in started.iterdir()]
    assert len(pids) == 2, "members began after the iterator was closed"
    assert not any(map(alive, pids))


def test_workers_never_get_the_interrupt() -> None:
    blocked = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK)
    for _, held_back in ProcessExecutor(2).run(blocked, [(), (), ()]):
        assert signal.SIGINT in held_back
    assert signal.SIGINT not in blocked(())


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_stopped_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    started = tmp_path / "started"
    started.mkdir()
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(started)]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert eventually(lambda: len(list(started.iterdir())) == 2)
        if number == signal.SIGINT:
            os.killpg(driver.pid, number)  # as a terminal does: the workers would get it too
        else:
            os.kill(driver.pid, number)
        out, err = driver.communicate(timeout=20)
        assert (out, err) == ("interrupted\n" if number == signal.SIGINT else "", "")
        assert driver.returncode == (0 if number == signal.SIGINT else -number)
        pids = [int(path.name) for path in started.iterdir()]
        assert len(pids) == 2, "members began after the interrupt"
        assert eventually(lambda: not any(map(alive, pids)), 10)
        assert eventually(lambda: not session(driver.pid), 10)
    finally:
        for pid in session(driver.pid):
            os.kill(pid, signal.SIGKILL)


def session(leader: int) -> list[int]:
    """Processes of a session that are alive: the driver, its workers, and what they started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == leader and state != "Z":
            found.append(int(folder.name))
    return found
