"""What a fit needs, and whether this machine has it: one finding per line, with a remedy where something is missing."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata

from gammasky.engine.errors import GammaskyError

NOT_NEEDED_BY_A_FIT = {"ray", "optuna", "sqlalchemy", "requests"}  # campaigns, tuning and downloads only
ARRAY_LIBRARIES = ("cupy-cuda12x", "cupy-cuda13x")
FEWEST_BYTES = 2 * 1024**3  # the largest share of memory that a fiducial fit may take


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: what was looked at.
        ok: whether it is as a fit wants it.
        value: what was found.
        remedy: what to do where `ok` is False.
        required: whether a fit on the CPU is impossible without it.
    """

    name: str
    ok: bool
    value: str
    remedy: str = ""
    required: bool = True

    @property
    def status(self) -> str:
        """`ok`, `missing` (a fit needs it) or `absent` (a fit runs without it)."""
        return "ok" if self.ok else ("missing" if self.required else "absent")

    @property
    def advice(self) -> str:
        """What to do, which is nothing where all is well."""
        return "" if self.ok else self.remedy


def examine() -> list[Finding]:
    """Everything the doctor looks at, in the order of the report."""
    findings = [_python(), *_packages()]
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("JAX", _jax),
        ("kernel backend", _backend),
        ("kernel threads", _threads),
        ("data sets", _data_sets),
        ("cache folder", _caches),
        ("memory", _memory),
    ]
    for name, check in checks:
        findings += _guarded(name, check)
    return findings


def fit_can_run(findings: Iterable[Finding]) -> bool:
    """Whether nothing that a fit on the CPU needs is missing."""
    return all(finding.ok or not finding.required for finding in findings)


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of `check`; its failure is a finding itself, since finding failures is the doctor's task."""
    try:
        return list(check())
    except GammaskyError as error:  # carries its own remedy
        return [Finding(name, False, " ".join(str(error).split()))]
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [Finding(name, False, reason, "pip install --force-reinstall gammasky")]


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok, platform.python_version(), "use Python 3.11 or later")


def _packages() -> list[Finding]:
    """The installed version of gammasky and of each package that it requires, without importing any."""
    required = [line for line in metadata.requires("gammasky") or [] if "extra ==" not in line]
    names = ["gammasky", *(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required)]
    findings = [_package(name, name not in NOT_NEEDED_BY_A_FIT) for name in names]
    for name in ARRAY_LIBRARIES:
        finding = _package(name, False)
        if finding.ok:  # GPU libraries are extras: not having them is no finding
            findings.append(finding)
    return findings


def _package(name: str, required: bool) -> Finding:
    try:
        return Finding(name, True, metadata.version(name), required=required)
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}", required)


def _jax() -> list[Finding]:
    """The devices that JAX sees, and whether arrays are double precision."""
    from gammasky.engine.runtime import configure

    configure()
    import jax

    devices = ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices())
    dtype = str(jax.numpy.ones(1).dtype)
    return [
        Finding("JAX devices", bool(devices), devices or "none", "pip install --force-reinstall jax jaxlib"),
        Finding("double precision", dtype == "float64", dtype, "unset JAX_ENABLE_X64"),
    ]


def _backend() -> list[Finding]:
    """What runs the kernels; where it is CUDA, on what."""
    from gammasky.engine.kernels import callbacks, gpu

    asked = os.environ.get(callbacks.VARIABLE)
    reason = f"{callbacks.VARIABLE}={asked}" if asked else f"JAX runs on {callbacks.platform()}"
    backend = callbacks.choose("auto")
    device = f", {gpu.description()}" if backend == "cuda" else ""
    return [Finding("kernel backend", True, f"{backend} ({reason}{device})")]


def _threads() -> list[Finding]:
    from gammasky.engine.kernels.threads import thread_count

    return [Finding("kernel threads", True, f"{thread_count()} (own pool over nogil kernels)")]


def _data_sets() -> list[Finding]:
    """Where the files of each known data set are; a fit of one's own data does without them."""
    from gammasky.engine.sky.demo import DEMOS
    from gammasky.engine.sky.fetch import list_datasets

    return [
        Finding(
            f"data set {entry.name}",
            entry.folder is not None or entry.name in DEMOS,
            str(entry.folder or ("made when first used" if entry.name in DEMOS else "not found")),
            f"gammasky data fetch {entry.name}, or set GAMMASKY_DATA to its folder",
            required=False,
        )
        for entry in list_datasets()
    ]


def _caches() -> list[Finding]:
    """The per-user cache; without it a fit runs, but compiles anew each time."""
    from gammasky.engine.files import cache_folder

    folder = cache_folder()
    first_there = next(place for place in (folder, *folder.parents) if place.exists())
    writable = os.access(first_there, os.W_OK)
    remedy = "make it writable, or set XDG_CACHE_HOME to a folder that is"
    return [Finding("cache folder", writable, f"{folder}{'' if writable else ' (read-only)'}", remedy, required=False)]


def _memory() -> list[Finding]:
    """The memory of the machine, where the system tells."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return [Finding("memory", True, "unknown")]
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    value = f"{total / 1024**3:.1f} GiB"
    return [Finding("memory", total >= FEWEST_BYTES, value, "a fiducial fit takes up to 2 GiB", required=False)]
