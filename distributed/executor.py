"""Run the members of a study: one interface, in this process or in several.

A study hands `run` a task and its members, and takes the results in the order in which they finish, each with the index
of its member. Results must not depend on that order, nor on which process ran what: a member carries its own seed.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.kernels.threads import thread_count

Result = TypeVar("Result")

_SPAWN = multiprocessing.get_context("spawn")  # a forked child would inherit locks of XLA's and our own threads


class Executor(Protocol):
    """What a study needs of a machine or a cluster."""

    def run(self, task: Callable[[Any], Result], members: Sequence[Any]) -> Iterator[tuple[int, Result]]:
        """Call `task(member)` for every member; yield (index of the member, result) in the order they finish.

        When the iterator is closed, or an error or Ctrl-C leaves it, members that have not begun never begin.

        Args:
            task: picklable: a function at the top of a module, or a dataclass instance with `__call__`. An executor
                may keep one copy per process for all its members, so what the task caches on itself is used again.
            members: picklable too: numbers, text, arrays, dataclasses.

        Raises:
            MemberError: a task raised, or its process ended; the cause is the original error with its traceback.
        """
        ...


class MemberError(RuntimeError):
    """The task of one member failed; `index` says which."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"member {index}: {what}")
        self.index = index


class MemberInputError(MemberError, GammaskyError):
    """The task of one member failed of something that the user can change."""


class WorkerTraceback(Exception):
    """The traceback of an error in another process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class SerialExecutor:
    """Members one after the other, in this process."""

    def run(self, task: Callable[[Any], Result], members: Sequence[Any]) -> Iterator[tuple[int, Result]]:
        """See `Executor.run`."""
        for index, member in enumerate(members):
            try:
                result = task(member)
            except Exception as error:
                raise _member_error(index, error) from error
            yield index, result


class ProcessExecutor:
    """Members shared between processes on this machine, each with its part of the threads (`thread_count`).

    Processes are spawned, so a script that uses this needs `if __name__ == "__main__":` around its own start. They
    begin with the first result asked for and end with the last, with an error, with Ctrl-C, and with this process.

    Args:
        workers: number of processes.

    Raises:
        InputError: `workers` is not a positive whole number.
    """

    def __init__(self, workers: int) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InputError(f"workers: expected a whole number of at least 1, got {workers!r}")
        self.workers = workers

    def run(self, task: Callable[[Any], Result], members: Sequence[Any]) -> Iterator[tuple[int, Result]]:
        """See `Executor.run`."""
        threads = max(thread_count() // self.workers, 1)
        waiting = iter(enumerate(members))
        team: dict[Connection, _Worker] = {}
        try:
            for index, member in islice(waiting, self.workers):
                with _no_interrupts():
                    worker = _Worker(threads)
                    team[worker.connection] = worker
                worker.send("task", task)
                worker.begin(index, member)
            while busy := [connection for connection, worker in team.items() if worker.index is not None]:
                for connection in wait(busy):
                    worker = team[connection]  # type: ignore[index]
                    done = worker.result()
                    for index, member in islice(waiting, 1):
                        worker.begin(index, member)  # before the caller takes the result: it may take its time
                    yield done
        finally:
            _end(list(team.values()))


class _Worker:
    """A process and the member that it is working on."""

    def __init__(self, threads: int) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.process: BaseProcess = _SPAWN.Process(target=_work, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()  # with the last copy gone, the end of the process is the end of the pipe
        self.index: int | None = None

    def begin(self, index: int, member: Any) -> None:
        self.index = index
        self.send(f"member {index}", member)

    def send(self, what: str, thing: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the process has ended: `result` says so
            self.connection.send_bytes(_pickled(what, thing))

    def result(self) -> tuple[int, Any]:
        """The index and result of the member at work.

        Raises:
            MemberError: the task raised, or the process has ended.
        """
        index, self.index = self.index, None
        if index is None:
            raise RuntimeError("no member is at work")
        try:
            result, error, trace = pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionResetError) as gone:
            self.process.join()
            hint = "; the system may have been short of memory" if self.process.exitcode == -signal.SIGKILL else ""
            raise MemberError(index, f"its process ended with exit code {self.process.exitcode}{hint}") from gone
        if trace is None:
            return index, result
        if error is None:  # one that cannot be sent
            raise MemberError(index, trace.rstrip().rpartition("\n")[2]) from WorkerTraceback(trace)
        error.__cause__ = WorkerTraceback(trace)
        raise _member_error(index, error) from error


def _end(team: Sequence[_Worker]) -> None:
    """End the processes: those that wait for a member by closing the pipe, others at once."""
    for worker in team:
        if worker.index is not None:
            worker.process.kill()  # compiled code would not heed anything else
        worker.connection.close()
    for worker in team:
        worker.process.join()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold SIGINT back; a process started within never gets it, even before its first line of Python.

    Ctrl-C in a terminal goes to all processes of a job, but it is this one that decides what follows.
    """
    resource_tracker.ensure_running()  # where the first `Process.start` does that, it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _member_error(index: int, error: Exception) -> MemberError:
    """The error that names the member; chain it to the original."""
    kind = MemberInputError if isinstance(error, GammaskyError) else MemberError
    return kind(index, str(error) if kind is MemberInputError else f"{type(error).__name__}: {error}")


def _pickled(what: str, thing: Any) -> bytes:
    try:
        return pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"{what}: expected something that can be pickled (functions and classes at the top of a module), got"
            f" {type(thing).__name__}: {error}"
        ) from error


def _work(connection: Connection, threads: int) -> None:
    """A worker's life: the task first, then members, until the pipe is closed."""
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    # XLA's CPU client takes its number of threads from NPROC; all are read after this, with the task's first import
    for name in ("GAMMASKY_NUM_THREADS", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    task = None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pickled_task = connection.recv_bytes()
        while True:
            member = connection.recv_bytes()
            try:
                if task is None:
                    task = pickle.loads(pickled_task)
                answer = pickle.dumps((task(pickle.loads(member)), None, None))
            except Exception as error:
                answer = _failure(error)
            connection.send_bytes(answer)


def _failure(error: Exception) -> bytes:
    """An error as it is sent: itself where it survives pickling, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    try:
        answer = pickle.dumps((None, error, trace))
        pickle.loads(answer)
    except Exception:  # an error class may pickle in any way it likes; the text says what happened
        return pickle.dumps((None, None, trace))
    return answer


def _end_with_the_driver() -> None:
    """A driver that was killed cannot end its workers, and a member may take hours."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
