"""The persistent cache of compiled programs, shared by threads and processes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gammasky.engine import runtime
from gammasky.engine.errors import InputError, warn_once

pytestmark = pytest.mark.usefixtures("own_programs")
OURS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"  # flags of XLA
# a program that another thread is writing at this moment: JAX's own write, slowed down to half a second
SLOW_WRITER = """
import pathlib, time, warnings
from concurrent.futures import ThreadPoolExecutor
warnings.simplefilter("error")
from gammasky.engine.runtime import configure
configure()
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
writes = []

def in_halves(path, data):
    writes.append(path.name)
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(0.5)
        file.write(data[len(data) // 2 :])

pathlib.Path.write_bytes = in_halves

def lowered():
    def shared_program(x):
        return jnp.sin(x) * 2.0
    return jax.jit(shared_program).lower(jnp.ones(7))

programs = [lowered(), lowered()]  # equal, but not the same object: JAX itself waits for one that is being compiled

def compiled(number):
    while number and not any("shared_program" in name for name in writes):
        time.sleep(0.01)  # until the limit of the process, if nothing is ever written
    return float(programs[number].compile()(jnp.ones(7))[0])

with ThreadPoolExecutor(2) as pool:
    one, other = pool.map(compiled, range(2))
assert one == other
"""


@pytest.fixture(autouse=True)
def _no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a test lets `configure` set are gone after it."""
    monkeypatch.setenv("XLA_FLAGS", "")


def test_a_program_that_another_thread_is_writing_is_not_read(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-P", "-c", SLOW_WRITER], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "gammasky" / "jax").glob("*-cache"))


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_platform_that_is_not_there_is_one_line(platform: str, tmp_path: Path) -> None:
    environment = os.environ | {"JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": "", "XDG_CACHE_HOME": str(tmp_path)}
    script = "from gammasky.engine.runtime import configure\nconfigure()"
    result = subprocess.run([sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert "InputError: JAX_PLATFORMS: expected a platform that JAX finds here" in last
    assert f"got '{platform}'" in last
    assert last.endswith("unset it, or set JAX_PLATFORMS=cpu")


@pytest.mark.skipif(jax.__version_info__[:2] != (0, 10), reason="tests have no flags of their own for this JAX")
def test_tests_compile_in_another_way_than_users_and_find_the_same_numbers() -> None:
    """See `XLA_FLAGS` in tests/conftest.py: a process without them finds the same values and gradients of a model."""
    code = (
        "import json, numpy, gammasky\n"
        "gammasky.configure()\n"
        "model = gammasky.SkyModel('calibration', gammasky.Dataset.open('demo'))\n"
        "z = numpy.random.default_rng(0).standard_normal((2, model.n_latent))\n"
        "print(json.dumps([part.tolist() for part in model.value_and_gradient(z)]))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    told = (
        subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        for env in (dict(os.environ), environment)
    )
    ours, theirs = map(json.loads, told)
    for mine, other in zip(ours, theirs, strict=True):
        largest = np.abs(np.array(other)).max()
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-13 * largest)


@pytest.mark.parametrize(
    ("plugins", "driver", "platforms", "words"),
    [
        ({13}, 12040, "", r"for CUDA 13, .* got one for CUDA 12\.4; update the driver, install gammasky\[cuda12\]"),
        ({13}, 11080, "cuda,cpu", r"got one for CUDA 11\.8; update the driver, or set JAX_PLATFORMS=cpu$"),
        ({12}, 11080, "", "expected a driver for CUDA 12"),
        ({13}, 13000, "", r"GPU: expected one that JAX can use, .* for CUDA 13\.0, got none; .* gammasky\[cuda13\]"),
        ({12, 13}, 12040, "", r"installed for CUDA 12 and there is a driver for CUDA 12\.4, got none"),
        ({13}, 12040, "cpu", None),
        (set(), 11080, "", None),
    ],
)
def test_an_old_driver_is_one_line(
    plugins: set[int], driver: int | None, platforms: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX itself would print a traceback and go on with the CPU."""
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr(runtime, "_driver", lambda: driver)
    installed = {runtime.CUDA_PLUGINS[major] for major in plugins}
    monkeypatch.setattr(runtime, "find_spec", lambda name: name if name in installed else None)
    if words is None:
        runtime.configure()
        return
    with pytest.raises(InputError, match=words) as error:
        runtime.configure()
    assert "\n" not in str(error.value)


def test_without_a_driver_the_cpu_is_used_and_said_so_once(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(runtime, "_driver", lambda: None)
    monkeypatch.setattr(runtime, "find_spec", lambda name: name if name == runtime.CUDA_PLUGINS[13] else None)
    before = jax.config.jax_platforms
    warn_once.cache_clear()
    try:
        runtime.configure()
        assert jax.config.jax_platforms == "cpu"
        runtime.configure()
    finally:
        jax.config.update("jax_platforms", before)
    (said,) = recwarn
    assert str(said.message).startswith("GPU: JAX is installed for CUDA 13, but there is no driver of NVIDIA's here")


def test_the_driver_says_how_new_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real call, to a library that stands in for the driver's."""
    source, library = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text("int cuDriverGetVersion(int *version) { *version = 12040; return 0; }")
    subprocess.run([shutil.which("cc") or "gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    load = ctypes.CDLL
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: load(str(library) if name == library.name else name))
    assert runtime._driver() == 12040


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", OURS),
        (f"--xla_a=1 {OURS}", f"--xla_a=1 {OURS}"),
        ("flags.txt", "flags.txt"),  # a file, which XLA reads
        ("--xla_gpu_autotune_level=4", "--xla_gpu_autotune_level=4 --xla_gpu_enable_triton_gemm=false"),
    ],
)
def test_flags_of_the_user_stay(given: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.setattr(runtime, "_driver", lambda: 13000)
    monkeypatch.setattr(runtime, "_require_gpu", lambda _: None)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    runtime.configure()
    assert os.environ["XLA_FLAGS"] == given  # of a CPU alone
    monkeypatch.setattr(runtime, "_majors", lambda: [13])
    runtime.configure()
    assert os.environ["XLA_FLAGS"] == expected


def test_this_xla_knows_our_flags() -> None:
    """One that it does not know would end the process."""
    environment = os.environ | {"XLA_FLAGS": OURS, "JAX_PLATFORMS": "cpu"}
    script = "import jax; jax.devices()"
    result = subprocess.run([sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
