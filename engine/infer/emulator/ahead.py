"""Compiles the programs of an emulation side by side, before and while the climbs to the best point are under way.

XLA compiles without Python's lock. So everything that a fit will ask of programs is asked first of stand-ins that run
nothing: each is lowered for the arguments that it is given, compiled in a thread, and gives zeros. JAX finds what was
compiled when the program itself is called.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gammasky.engine import interrupt
from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.emulator import network as networks
from gammasky.engine.infer.emulator import training
from gammasky.engine.infer.emulator.copy import framed, reframed
from gammasky.engine.infer.emulator.design import Design
from gammasky.engine.infer.emulator.sampling import CHAINS, Sampler
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.interrupt import IN_ADVANCE
from gammasky.engine.kernels.threads import thread_count
from gammasky.engine.model.programs import Programs

if TYPE_CHECKING:
    from gammasky.engine.model import Density

CLIMBS, TRAINING = "value_and_gradient", ("emulator", "training")  # keys of programs
CPUS_EACH = 2  # that XLA keeps busy with one program
MOST_THREADS = 12  # there are no more programs
LOOK_SECONDS = 0.2  # between two looks at interrupts while a program is waited for


@contextmanager
def compiled_ahead(model: Density) -> Iterator[None]:
    """Compile the programs of an emulation of `model`; once that of the climbs is there, the body runs.

    At the end of the body it waits for all of them; where the body has failed, or was interrupted, for none: one may
    take a minute. Nothing is done where there are too few CPUs, where members share programs over a leading axis (those
    are others), and where an earlier fit has compiled them.

    Raises:
        Exception: what XLA says of a program that it cannot compile.
        KeyboardInterrupt: after Ctrl-C.
    """
    threads = min(thread_count() // CPUS_EACH, MOST_THREADS)
    if threads < 2 or model.programs.width > 1 or TRAINING in model.programs:
        yield
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix=IN_ADVANCE)
    try:
        stand_in, stand_ins = copy.copy(model), StandIns(model.programs, pool)
        stand_in.programs = stand_ins
        rehearse(stand_in)
        _wait_for(stand_ins.compiled[CLIMBS])
        yield
        for program in stand_ins.compiled.values():
            _wait_for(program)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class StandIns(Programs):
    """Stand-ins for programs; what is asked of one the first time is compiled in a thread of the pool.

    Args:
        known: the programs themselves.

    Attributes:
        compiled: programs, by key; each is there once it is compiled.
    """

    def __init__(self, known: Programs, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.compiled: dict[Hashable, Future[Any]] = {}
        self._known, self._pool = known, pool

    def find(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The stand-in for the program of that key, which gives zeros."""
        program = self._known.find(key, build)

        def run(*arguments: Any) -> Any:
            interrupt.check()
            lowered = program.lower(*arguments)
            if key not in self.compiled:
                self.compiled[key] = self._pool.submit(lowered.compile)
            return _zeros(lowered.out_info)

        return run


def rehearse(model: Density) -> None:
    """Ask for all that an emulation asks of programs: what is needed first, then the largest.

    The small things that JAX does one by one, such as random numbers, are done last, and so are compiled.
    """
    target, size, key = Target(model), model.n_latent, jax.random.key(0)
    sampler, x, zeros = Sampler(target), np.zeros((CHAINS, size)), np.zeros(CHAINS)
    model.value_and_gradient(x[:BATCH])
    emulated = framed(target, x[0], np.eye(size))
    width = size + len(emulated.middle)
    network = jax.eval_shape(networks.start, key, 0.0, np.zeros(width), np.zeros((width, width)))
    emulated = emulated._replace(network=_zeros(network))
    sampler.move(emulated, x, key, 1.0, 1, 1)
    sampler.log_density(emulated, x)
    target.of_latent(x, zeros, x, x)
    target.log_likelihood(x)
    target.prior(x)
    if not target.has_fields:
        target.from_latent(x)
    design = Design.empty(size, size - target.n_plain)
    design.append(target, x, zeros, x)
    for _ in training.train(target, emulated, design, key, 1):
        pass
    derive(model, x)
    emulated = training.begun(target, emulated, design, key)
    reframed(target, emulated, x[0], np.eye(size))


def _wait_for(program: Future[Any]) -> None:
    while not wait([program], timeout=LOOK_SECONDS).done:
        interrupt.check()
    program.result()


def _zeros(shapes: Any) -> Any:
    """Arrays of zeros of some shapes and dtypes."""
    return jax.tree.map(lambda of: np.zeros(of.shape, of.dtype), shapes)
