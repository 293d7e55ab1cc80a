"""Members as tasks of Ray: on this machine or a cluster, in workers that are used again.

A task is told its member and says in a few lines how it ended; the result itself goes from the worker to the shared
storage. Ray retries nothing: a task whose worker was lost comes back to the driver, which decides.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gammasky.distributed.attempt import attempt
from gammasky.distributed.folder import Places, read_json
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Ending, Job, Outcome, Work
from gammasky.distributed.runners.connect import check_room, connected, room_on
from gammasky.distributed.runners.watch import Watch
from gammasky.engine.errors import InputError
from gammasky.engine.interrupt import Interrupts

WINDOW = 256  # jobs that a small cluster is given at once; a larger one is given twice its slots
GRACE_SECONDS = 10.0  # that a member has to write its checkpoint when it is told to end
REFRESH_SECONDS = 2.0  # between two looks at the nodes

_kept: dict[str, Work] = {}  # in a worker: the campaign that it works for


class RayRunner:
    """Runs members on Ray.

    Args:
        address: "auto" (the running cluster, else this machine), "local", "ray://host:port" or "host:port".
        workers: members at once; None: as many as there is room for.

    Raises:
        InputError: `workers` is not a positive whole number.
    """

    def __init__(self, address: str = "auto", workers: int | None = None) -> None:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: expected a whole number of at least 1, got {workers!r}")
        self.address, self.workers = address, workers

    @contextmanager
    def session(self, work: Work) -> Iterator[RaySession]:
        """See `Runner.session`."""
        with connected(self.address, self.workers, work.resources) as ray:
            check_room(ray, work.resources)
            yield RaySession(ray, work, self.workers)


class RaySession:
    """See `Session`."""

    def __init__(self, ray: Any, work: Work, workers: int | None) -> None:
        self._ray, self._workers, self._resources = ray, workers, work.resources
        self._jobs: dict[Any, Job] = {}
        self._slots, self._looked = 0, -float("inf")
        self._live = Places(work.folder).live
        self._watch = Watch(self._live)
        try:
            pickled = ray.cloudpickle.dumps(work)
        except (TypeError, AttributeError, ValueError) as error:
            raise InputError(f"task: expected something that can be pickled: {error}") from error
        # in a list, else Ray would unpickle it anew for each member
        self._ticket = (uuid.uuid4().hex, work.folder, [ray.put(pickled)])
        self._remote = ray.remote(
            num_cpus=work.resources.cpus,
            num_gpus=work.resources.gpus,
            memory=int(work.resources.memory_gb * 1e9) or None,
            max_retries=0,
            max_calls=0,  # a task with a GPU would get a new process each time
            runtime_env={"env_vars": environment(work.resources)},
        )(_work)

    def interrupts(self) -> Interrupts:
        """See `Session.interrupts`."""
        return Interrupts()

    def slots(self) -> int:
        """See `Session.slots`."""
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._slots, self._looked = room_on(self._ray.nodes(), self._resources), time.monotonic()
        return min(self._slots, self._workers or self._slots)

    def room(self) -> int:
        """See `Session.room`."""
        return (self._workers or max(WINDOW, 2 * self.slots())) - len(self._jobs)

    def submit(self, job: Job) -> None:
        """See `Session.submit`."""
        self._jobs[self._remote.remote(self._ticket, job)] = job

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """See `Session.poll`."""
        if not self._jobs:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=seconds)
        if ready:  # and all others that are
            ready, _ = self._ray.wait(list(self._jobs), num_returns=len(self._jobs), timeout=0)
        ended = [(job := self._jobs.pop(reference), self._outcome(reference, job)) for reference in ready]
        return ended + self._silent()

    def _silent(self) -> list[tuple[Job, Outcome]]:
        """The jobs whose workers do not answer; those are ended, so that others can have their room."""
        reference_of = {job.key: reference for reference, job in self._jobs.items()}
        given_up = []
        for key in self._watch.silent(reference_of):
            job = self._jobs.pop(reference_of[key])
            self._ray.cancel(reference_of[key], force=True)
            self._kill(read_json(self._live / f"{key}.json") or {})
            given_up.append((job, Outcome("lost", attempts=job.attempt, error="its worker does not answer")))
        return given_up

    def _kill(self, worker: dict[str, Any]) -> None:
        """End a worker from another process on its node: Ray asks it to end itself, which a frozen one does not."""
        hosts = {node["NodeManagerHostname"]: node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if worker.get("host") in hosts:
            there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                hosts[worker["host"]], soft=False
            )
            self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_kill).remote(worker["pid"])

    def stop(self) -> None:
        """See `Session.stop`."""
        left = list(self._jobs)
        for reference in left:
            self._ray.cancel(reference)
        if left:
            _, left = self._ray.wait(left, num_returns=len(left), timeout=GRACE_SECONDS)
        for reference in left:
            self._ray.cancel(reference, force=True)
        self._jobs.clear()

    def _outcome(self, reference: Any, job: Job) -> Outcome:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:  # the attempt could not begin: what happens within, an outcome tells
            cause, trace = error.cause or error, str(error)
            ending: Ending = "lost" if isinstance(cause, (errors.RayError, OSError, MemoryError)) else "apart"
        except errors.RayError as error:
            cause, trace, ending = error, str(error), "lost"
        line = str(cause).strip().partition("\n")[0]
        return Outcome(ending, attempts=job.attempt, error=f"{type(cause).__name__}: {line}", trace=trace)


def environment(resources: Resources) -> dict[str, str]:
    """Environment of a worker, so that members side by side share cores and GPUs instead of fighting for them."""
    # XLA takes its number of threads from NPROC; under spinning OpenMP threads two members are slower than one
    names = ("NPROC", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GAMMASKY_NUM_THREADS")
    threads = dict.fromkeys(names, str(resources.cpus))
    # names of compiled programs in JAX's cache depend on the order of sets
    common = {**threads, "OMP_WAIT_POLICY": "passive", "PYTHONHASHSEED": "0"}
    if resources.gpus == 0:
        return {**common, "JAX_PLATFORMS": "cpu"}
    # what is left over holds the GPU's own context in each process
    return {**common, "XLA_CLIENT_MEM_FRACTION": f"{0.9 * min(resources.gpus, 1.0):.3f}"}


def _work(ticket: tuple[str, Path, list[Any]], job: Job) -> Outcome:
    """A task of Ray's, in a worker."""
    campaign, folder, (reference,) = ticket

    def load() -> Work:
        import ray

        if campaign not in _kept:
            _kept.clear()
            try:
                _kept[campaign] = ray.cloudpickle.loads(ray.get(reference))
            except ray.exceptions.RayError as error:  # this node is about to be lost, or cut off
                raise ConnectionError(f"{type(error).__name__}: {error}") from error
        return _kept[campaign]

    return attempt(folder, load, job, own_process=True)


def _kill(pid: int) -> None:
    """A task of Ray's, on the node of a worker that is frozen."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended by now
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            os.kill(pid, signal.SIGKILL)
