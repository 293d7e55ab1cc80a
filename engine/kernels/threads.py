"""The threads that share a kernel's work.

Kernels are compiled by Numba with `nogil`, so plain Python threads run them side by side. Compared with Numba's own
threading layers this has no layer to choose, nothing to install, and any number of callers may enter at once
(Numba's `workqueue` aborts the process there). Work is cut into tasks that do not depend on the number of threads and
whose results are combined in task order, so results are bit-identical for any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

from threadpoolctl import threadpool_limits

from gammasky.engine.errors import InputError

_pool: ThreadPoolExecutor | None = None
_pool_pid = -1
_lock = threading.Lock()
_side_by_side = 0  # tasks beyond the first that call kernels now; these may run in threads of JAX's own


def thread_count() -> int:
    """Threads per kernel call: `GAMMASKY_NUM_THREADS`, else the number of CPUs this process may use.

    Raises:
        InputError: the variable is not a positive whole number.
    """
    text = os.environ.get("GAMMASKY_NUM_THREADS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"GAMMASKY_NUM_THREADS: expected a whole number of at least 1, got '{text}'")
    return int(text)


def _helpers() -> ThreadPoolExecutor:
    """The pool of helper threads, made anew after a fork (threads do not survive one)."""
    global _pool, _pool_pid
    if _pool is None or _pool_pid != os.getpid():
        _pool = ThreadPoolExecutor(max_workers=max(32, thread_count()), thread_name_prefix="gammasky-kernel")
        _pool_pid = os.getpid()
    return _pool


def run_tasks(task: Callable[[int], None], n_tasks: int) -> None:
    """Call `task(0) ... task(n_tasks - 1)`, shared between this thread and its helpers; return when all are done.

    Raises:
        Exception: the first error of a task, after those under way have ended; no other begins. So does Ctrl-C.
    """
    _share(task, n_tasks, max(thread_count() // (1 + _side_by_side), 1))


def run_side_by_side(task: Callable[[int], None], n_tasks: int) -> None:
    """The same for tasks that call kernels, two at once: while two are under way, a kernel has half of the threads.

    More at once would need more memory.

    Raises:
        Exception: as of `run_tasks`.
    """
    global _side_by_side
    more = max(min(thread_count(), n_tasks, 2) - 1, 0)
    with _lock:
        _side_by_side += more
    try:
        _share(task, n_tasks, 1 + more)
    finally:
        with _lock:
            _side_by_side -= more


def _share(task: Callable[[int], None], n_tasks: int, threads: int) -> None:
    tickets, stopped = count(), False  # next() is atomic: each task is taken once

    def work() -> None:
        nonlocal stopped
        try:
            while not stopped and (ticket := next(tickets)) < n_tasks:
                task(ticket)
        except BaseException:
            stopped = True
            raise

    helpers: list[Future[None]] = []
    for _ in range(min(threads, n_tasks) - 1):
        helpers.append(_helpers().submit(work))
    try:
        work()
    finally:
        for helper in helpers:  # a helper that never got a turn has nothing left to do
            helper.cancel()
        errors = [helper.exception() for helper in helpers if not helper.cancelled()]
    for error in errors:
        if error is not None:
            raise error


_blas_users = 0
_blas_limit: threadpool_limits | None = None


@contextmanager
def blas_in_one_thread() -> Iterator[None]:
    """Let BLAS use one thread while the body runs, in this process.

    Its products here are small, and its own threads, which wait by spinning, would take the CPUs from kernels.
    """
    global _blas_users, _blas_limit
    with _lock:
        _blas_users += 1
        if _blas_users == 1:
            _blas_limit = threadpool_limits(1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()
