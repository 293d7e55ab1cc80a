"""The threads that share a kernel's work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, Lock, get_ident

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.threads import blas_in_one_thread, run_side_by_side, run_tasks, thread_count


def test_thread_count_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.delenv("GAMMASKY_NUM_THREADS")
    assert 1 <= thread_count() <= (os.cpu_count() or 1)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "")
    assert thread_count() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", " ", "²"])
def test_bad_thread_count(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", text)
    with pytest.raises(InputError, match=f"GAMMASKY_NUM_THREADS: expected a whole number of at least 1, got '{text}'"):
        thread_count()


@pytest.mark.parametrize("threads", ["1", "2", "3", "50"])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 200])
def test_each_task_runs_once(threads: str, n_tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    done: list[int] = []
    run_tasks(done.append, n_tasks)
    assert sorted(done) == list(range(n_tasks))


def test_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that wait for each other end only if two threads run them."""
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "2")
    meeting, threads = Barrier(2, timeout=20), set()

    def task(_number: int) -> None:
        meeting.wait()
        threads.add(get_ident())

    run_tasks(task, 2)
    assert len(threads) == 2


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("bad", [0, 7, 19])
def test_an_error_comes_out_and_nothing_hangs(threads: str, bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    done: list[int] = []

    def task(number: int) -> None:
        if number == bad:
            raise ArithmeticError(f"task {number}")
        done.append(number)

    with pytest.raises(ArithmeticError, match=f"task {bad}"):
        run_tasks(task, 20)
    run_tasks(done.append, 5)  # the pool still works
    assert sorted(done[-5:]) == [0, 1, 2, 3, 4]
    assert bad not in done[:-5]


def test_many_callers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More callers than helper threads, each with tasks that call run_tasks themselves."""
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "4")
    lock, total = Lock(), [0]

    def inner(_number: int) -> None:
        with lock:
            total[0] += 1

    with ThreadPoolExecutor(60) as pool:
        list(pool.map(lambda _: run_tasks(lambda _n: run_tasks(inner, 5), 4), range(60)))
    assert total[0] == 60 * 4 * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork() -> None:
    """Threads do not survive a fork: the child makes its own, and ends."""
    script = (
        "import os; os.environ['GAMMASKY_NUM_THREADS'] = '2'\n"
        "from threading import Barrier\n"
        "from gammasky.engine.kernels.threads import run_tasks\n"
        "meet = lambda: run_tasks(lambda n, b=Barrier(2, timeout=20): b.wait(), 2)\n"
        "meet()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    meet(); print('child done', flush=True); os._exit(0)\n"
        "status = os.waitpid(child, 0)[1]\n"
        "meet(); print('parent done', status)\n"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["child", "done", "parent", "done", "0"]


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_an_error_stops_the_others(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that have not begun never begin, Ctrl-C included."""
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    begun: list[int] = []

    def task(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(task, 1000)
    assert len(begun) < 20


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_tasks_side_by_side_leave_kernels_their_part_of_the_threads(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    lock, under_way, most = Lock(), {"tasks": 0, "kernels": 0}, {"tasks": 0, "kernels": 0}

    def counted(kind: str, then: Callable[[], None]) -> None:
        with lock:
            under_way[kind] += 1
            most[kind] = max(most[kind], under_way[kind])
        then()
        with lock:
            under_way[kind] -= 1

    def kernel(_number: int) -> None:
        counted("kernels", lambda: time.sleep(0.005))

    done: list[int] = []
    run_side_by_side(lambda n: counted("tasks", lambda: run_tasks(kernel, 8)) or done.append(n), 6)
    assert sorted(done) == list(range(6))
    assert most == {"tasks": min(int(threads), 2), "kernels": int(threads)}
    run_side_by_side(done.append, 0)
    most["kernels"] = 0
    run_tasks(kernel, 8)  # alone again, a kernel has them all
    assert most["kernels"] == int(threads)


def _blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("first", [0, 1])
def test_blas_has_its_threads_back_when_the_last_that_wants_one_has_ended(first: int) -> None:
    with threadpool_limits(2, user_api="blas"):
        both = [blas_in_one_thread(), blas_in_one_thread()]
        for one in both:
            one.__enter__()
        assert _blas_threads() == {1}
        both[first].__exit__(None, None, None)
        assert _blas_threads() == {1}
        both[1 - first].__exit__(None, None, None)
        assert _blas_threads() == {2}
        with suppress(KeyboardInterrupt), blas_in_one_thread():
            raise KeyboardInterrupt
        assert _blas_threads() == {2}
