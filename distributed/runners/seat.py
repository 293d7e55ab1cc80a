"""A seat: one process of a worker's, which holds its share of one device for life and fits member after member.

Ray gives an actor its GPUs when it starts and never others, and CUDA keeps those that a process saw first: a seat fits
all its members on one and the same device.
"""

from __future__ import annotations

import _thread
import os
import signal
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

from gammasky.distributed.attempt import Tell, attempt, unseen
from gammasky.distributed.folder import Places
from gammasky.distributed.lanes import Lanes, told_to_end
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.runners.hub import Line
from gammasky.distributed.software import difference
from gammasky.engine.errors import GammaskyError, InputError


def seat_class() -> type:
    """The class of the actor; made here, it is sent to the node whole, and can say there that gammasky is missing.

    `open` takes the seat's name, the campaign's folder, the hub, and in a list where Ray has the pickled work: else Ray
    would unpickle it before the seat can say what is missing.
    """

    class Seat:
        def open(self, seat: str, folder: str, hub: Any, work: list[Any]) -> dict[str, Any]:
            import socket

            import ray

            where = {"host": socket.gethostname(), "node": ray.get_runtime_context().get_node_id()}
            try:
                from gammasky.distributed.runners.seat import SeatHere
            except Exception as error:
                line = f"task: a worker cannot load it: {type(error).__name__}: {error}"
                return {**where, "apart": f"{line}; install the same gammasky on every node"}
            self.here = SeatHere(seat, folder, hub, work[0])
            return {**where, **self.here.open()}

        def work(self, job: Any) -> Any:
            return self.here.work(job)

    return Seat


class SeatHere:
    """A seat, in its own process."""

    def __init__(self, seat: str, folder: str, hub: Any, reference: Any) -> None:
        self._folder, self._reference = Path(folder), reference
        self._work: Work | None = None
        self._about: dict[str, str] = {}
        self._lock, self._busy, self._over = threading.Lock(), False, False
        self._lanes: Lanes | None = None
        self._line = Line(hub, seat, self._end)

    def open(self) -> dict[str, Any]:
        """Load the work, and say what this seat is; `apart` says what its node lacks.

        Raises:
            OSError, MemoryError, RayError: something went wrong just now.
        """
        import ray

        self._line.greet()
        devices = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        known = {"pid": os.getpid(), "gpus": list(devices)}
        if not Places(self._folder).manifest.is_file():
            return {**known, "apart": unseen(self._folder)}
        pickled = ray.get(self._reference)
        try:
            self._work = ray.cloudpickle.loads(pickled)
        except (OSError, MemoryError, ray.exceptions.RayError):
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            return {**known, "apart": f"task: a worker cannot load it: {line}; install the same gammasky on every node"}
        try:
            self._about = about_of(self._work)
        except GammaskyError as error:
            return {**known, "apart": f"{error} ({socket.gethostname()})"}
        if self._work.lanes > 1:
            self._lanes = Lanes(self._work, self._about)
        return known

    def work(self, job: Job) -> Outcome:
        """One attempt at a member; where there are lanes, in a thread of Ray's for each."""
        self._line.begin(job.key)
        try:
            tell = partial(self._line.report, job.key)
            return self._lanes.attempt(job, tell) if self._lanes else self._attempt(job, tell)
        finally:
            self._line.end(job.key)

    def _attempt(self, job: Job, tell: Tell) -> Outcome:
        """One attempt, in the main thread."""
        assert self._work is not None
        with self._lock:
            if self._over:
                return told_to_end(job)
            self._busy = True
        try:
            return attempt(self._work, job, tell, self._about)
        except KeyboardInterrupt:
            return told_to_end(job)
        finally:
            with self._lock:
                self._busy = False

    def _end(self) -> None:
        """Interrupt the members at work, which may write their checkpoints; called in the line's thread."""
        if self._lanes:
            self._lanes.end()
            return
        with self._lock:
            self._over = True
            if self._busy:
                _thread.interrupt_main(signal.SIGINT)


def about_of(work: Work) -> dict[str, str]:
    """What the task says of the software and the device of this process; a task may say nothing.

    Raises:
        GammaskyError: this machine lacks what members need, or has other versions than the driver.
    """
    tell = getattr(work.task, "about", None)
    about = dict(tell(work.resources)) if tell else {}
    if mixed := difference(work.software, about, work.mixed):
        raise InputError(f"software: here is {mixed}")
    return about


def environment(resources: Resources) -> dict[str, str]:
    """Environment of a seat, so that members side by side share cores and GPUs instead of fighting for them."""
    # XLA takes its number of threads from NPROC; under spinning OpenMP threads two members are slower than one
    names = ("NPROC", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GAMMASKY_NUM_THREADS")
    threads = dict.fromkeys(names, str(resources.cpus))
    # names of compiled programs in JAX's cache depend on the order of sets
    common = {**threads, "OMP_WAIT_POLICY": "passive", "PYTHONHASHSEED": "0"}
    if resources.gpus == 0:
        return {**common, "JAX_PLATFORMS": "cpu"}
    # a GPU that was asked for is used, or the kernels say what is missing: JAX by itself falls back to the CPU, which
    # its callbacks need beside. What is left over of the memory holds the GPU's own context in each process
    used = {"JAX_PLATFORMS": "cuda,cpu", "GAMMASKY_BACKEND": "cuda", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**common, **used, "XLA_CLIENT_MEM_FRACTION": f"{0.9 * resources.gpus:.3f}"}
