"""How JAX runs here: double precision, and compiled programs kept from one run to the next."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

from gammasky.engine.errors import InputError, warn_once
from gammasky.engine.files import cache_folder
from gammasky.engine.kernels.threads import thread_count

CACHE_BYTES = 2 * 1024**3
#: Of XLA for a GPU. By default it times candidates for every product of matrices while it compiles; that takes time,
#: and makes the last bits of a result hang on which of them was fastest that day.
GPU_FLAGS = {"xla_gpu_autotune_level": "0", "xla_gpu_enable_triton_gemm": "false"}
CUDA_PLUGINS = {12: "jax_cuda12_plugin", 13: "jax_cuda13_plugin"}


def configure() -> None:
    """Switch JAX to float64 and give it a persistent compilation cache.

    Call it before anything is traced; calling it again changes nothing. `JAX_COMPILATION_CACHE_DIR`, where it is set,
    decides where compiled programs are kept. Where JAX is installed for a GPU, `GPU_FLAGS` are added to `XLA_FLAGS`,
    but for those that are set there; they count if JAX has not been used yet.

    Raises:
        InputError: `GAMMASKY_NUM_THREADS` is no number of threads (in the middle of a kernel it would be XLA's error);
            `JAX_PLATFORMS` asks for a platform that is not there; or JAX, installed for a GPU, would run on the CPU
            although there is a driver, because that is too old or for some other reason.

    Example:
        >>> import gammasky
        >>> gammasky.configure()
    """
    thread_count()
    majors = _majors()
    _require_driver(majors)
    if majors:
        _set_flags()
    # healpy imports Matplotlib, which tells of a home that cannot be written; our own cache tells it once
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import jax

    jax.config.update("jax_enable_x64", True)
    _require_platform()
    _require_gpu(majors)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        with suppress(OSError):  # without a cache every run compiles anew; JAX would warn of each program
            cache_folder("jax").mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(cache_folder("jax")))
            # JAX locks a cache of bounded size only: in another one a thread or process may read half a program
            jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # JAX keeps only what took a second to compile; a fit is many programs just below that
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _set_flags() -> None:
    """Add our flags of XLA to those of the user, which come first; not where these are in a file, which XLA reads."""
    given = os.environ.get("XLA_FLAGS", "").split()
    if given and not given[0].startswith("-"):
        return
    known = {flag.partition("=")[0].lstrip("-") for flag in given}
    ours = (f"--{name}={value}" for name, value in GPU_FLAGS.items() if name not in known)
    os.environ["XLA_FLAGS"] = " ".join([*given, *ours])


def _require_platform() -> None:
    """Refuse platforms that are asked for by name and cannot be had: JAX fails with whatever it meets first."""
    import jax

    wanted = os.environ.get("JAX_PLATFORMS", "")
    if not wanted:
        return
    try:
        jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        reason = f" ({' '.join(str(error).split())})" if str(error) else ""
        raise InputError(
            f"JAX_PLATFORMS: expected a platform that JAX finds here, got '{wanted}'{reason}; "
            "unset it, or set JAX_PLATFORMS=cpu"
        ) from error


def _majors() -> list[int]:
    """The versions of CUDA that JAX is installed for, if it shall use a GPU."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    if wanted and not {"cuda", "gpu"} & set(wanted.split(",")):
        return []
    return [major for major, plugin in CUDA_PLUGINS.items() if find_spec(plugin)]


def _require_driver(majors: Sequence[int]) -> None:
    """Refuse a driver that is older than the CUDA which JAX is installed for: JAX itself would go on with the CPU."""
    version = _driver() if majors else None
    if version is None or version // 1000 >= min(majors):
        return
    other = "install gammasky[cuda12] in its place, " if version // 1000 == 12 else ""
    raise InputError(
        f"GPU: expected a driver for CUDA {min(majors)}, which JAX is installed for, got one for {_cuda(version)}; "
        f"update the driver, {other}or set JAX_PLATFORMS=cpu"
    )


def _require_gpu(majors: Sequence[int]) -> None:
    """Refuse the CPU where there is a driver, and JAX is installed for its GPU; without a driver, say that it is used.

    JAX by itself goes on with the CPU in both cases, after a traceback of what it has missed first.
    """
    import jax

    if not majors or os.environ.get("JAX_PLATFORMS"):  # what that asks for is there
        return
    version = _driver()
    if version is None:
        jax.config.update("jax_platforms", "cpu")
        warn_once(
            f"GPU: JAX is installed for CUDA {min(majors)}, but there is no driver of NVIDIA's here: all runs on the "
            "CPU; set JAX_PLATFORMS=cpu where that is meant"
        )
    elif jax.default_backend() == "cpu":
        raise InputError(
            f"GPU: expected one that JAX can use, as it is installed for CUDA {min(majors)} and there is a driver for "
            f"{_cuda(version)}, got none; what JAX lacks it says above: install gammasky[cuda{min(majors)}] again, or "
            "set JAX_PLATFORMS=cpu"
        )


def _cuda(version: int) -> str:
    return f"CUDA {version // 1000}.{version % 1000 // 10}"


def _driver() -> int | None:
    """The newest CUDA that the driver can do, 12040 for 12.4; None where there is no driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    return version.value if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
