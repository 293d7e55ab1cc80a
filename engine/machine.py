"""The software and the device with which a fit is made here, as a result records them."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from gammasky.engine.errors import InputError
from gammasky.engine.runtime import configure

PACKAGES = ("gammasky", "jax", "jaxlib", "numba", "cupy")
VERSION = "version_"  # "version_jax" is that of jax
_NAMES = {"cupy": ("cupy", "cupy-cuda12x", "cupy-cuda13x")}  # under which a package may be installed


def versions() -> dict[str, str]:
    """The version of each package that results depend on, where it is installed; imports none of them."""
    return {f"{VERSION}{package}": version for package in PACKAGES if (version := _version(package))}


@lru_cache
def _version(package: str) -> str:
    for name in _NAMES.get(package, (package,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def machine(gpus: float) -> dict[str, str]:
    """`backend` of the kernels, `device`, and the versions.

    Args:
        gpus: that a fit was promised here.

    Raises:
        InputError: a GPU was promised, and JAX or the kernels would not run on one.
    """
    from gammasky.engine.kernels import callbacks, gpu

    try:
        configure()
        backend = callbacks.choose("auto")
    except InputError as error:
        if not gpus:
            raise
        raise InputError(f"gpus: {gpus:g} asked for, but none can be used here: {error}") from error
    if gpus and backend != "cuda":
        raise InputError(
            f"gpus: {gpus:g} asked for, but the kernels would run on the CPU here (backend {backend}, JAX on"
            f" {callbacks.platform()}); see `gammasky doctor`, or leave gpus out"
        )
    device = gpu.description() if backend == "cuda" else _processor()
    return {"backend": backend, "device": device, **versions()}


@lru_cache
def _processor() -> str:
    """The name of the CPU."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8", errors="replace").splitlines() if known.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
