"""The threads that share a kernel's work.

Kernels are compiled by Numba with `nogil`, so plain Python threads run them side by side. Compared with Numba's own
threading layers this has no layer to choose, nothing to install, and any number of callers may enter at once
(Numba's `workqueue` aborts the process there). Work is cut into tasks that do not depend on the number of threads and
whose results are combined in task order, so results are bit-identical for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

from gammasky.engine.errors import InputError

_pool: ThreadPoolExecutor | None = None
_pool_pid = -1


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
    for _ in range(min(thread_count(), n_tasks) - 1):
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
