"""Compiled programs and kernels that the processes of one run share: each is compiled once, whichever test asks first.

Many are asked for again: by a test that fits twice, by the next one of the same model, after JAX's own caches were
cleared. JAX's own cache on disk leaves out every program that calls one of our kernels, for it hands no callbacks to
what it loads. Such a program knows its callbacks by number alone: its machine code runs with whichever it is given.

Numba keeps its kernels on disk by itself; but of processes that ask for the same kernel at the same time, as in a fresh
checkout all of them do in the first minutes, each would compile it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock
from jax._src import compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

Compile = Callable[[Any, Any, Any, Any, Sequence[Any]], Any]
CAN_LOAD = jax.__version_info__ >= (0, 10)  # earlier ones were not tried


def keep_programs(folder: Path) -> None:
    """From here on load from `folder` what any process of the run has compiled before."""
    if CAN_LOAD:
        jax.config.update("jax_enable_compilation_cache", False)  # the user's
        compiler.backend_compile_and_load = kept_in(folder, compiler.backend_compile_and_load)


def kept_in(folder: Path, compile_anew: Compile) -> Compile:
    """`compile_anew`, but for what is in `folder` already."""

    def load_or_compile(backend: Any, module: Any, devices: Any, options: Any, callbacks: Sequence[Any]) -> Any:
        if backend.platform != "cpu":
            return compile_anew(backend, module, devices, options, callbacks)
        text = module.operation.get_asm(enable_debug_info=False).encode()
        flags = os.environ.get("XLA_FLAGS", "").encode()  # processes that a test starts may have others
        place = folder / hashlib.sha256(b"|".join((text, options.SerializeAsString(), flags))).hexdigest()
        if place.exists():
            return backend.deserialize_executable(place.read_bytes(), devices, options, callbacks)
        program = compile_anew(backend, module, devices, options, callbacks)
        # in one piece: another process may look for it at any moment
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(backend.serialize_executable(program))
        os.replace(part.name, place)
        return program

    return load_or_compile


def compile_kernels_once(folder: Path) -> None:
    """From here on wait for a kernel that another process of the run is compiling, and load it."""
    compile_or_load = Dispatcher.compile

    def one_after_the_other(self: Dispatcher, signature: Any) -> Any:
        name = hashlib.sha256(f"{self.py_func.__module__}.{self.py_func.__qualname__}".encode()).hexdigest()
        # a kernel is asked for after those that call it: processes cannot wait for each other. Threads have one lock
        # for all of them, which comes first
        with global_compiler_lock, FileLock(folder / f"{name}.lock"):
            return compile_or_load(self, signature)

    Dispatcher.compile = one_after_the_other
