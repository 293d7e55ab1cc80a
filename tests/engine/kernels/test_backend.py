"""Which backend runs, by argument, environment and platform; and one clear line where a piece is missing."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky import doctor
from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks, gpu
from gammasky.engine.kernels.poisson.op import poisson_log_likelihood
from tests.engine.kernels.host.fake_cupy import STREAM, CUDARuntimeError

COUNTS = np.array([0, 3, 5])
MEAN = jnp.array([0.5, 2.0, 6.0])


def log_p(backend: str = "auto") -> np.ndarray:
    """The operation, and wait for it."""
    return np.array(poisson_log_likelihood(COUNTS, MEAN, backend=backend))


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(callbacks.VARIABLE, raising=False)


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_by_platform(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callbacks.choose("auto") == "cuda"
    found = log_p()
    assert [launch.kernel for launch in cupy.launches] == ["poisson_pixels"]
    monkeypatch.setattr(callbacks, "platform", lambda: "cpu")
    assert callbacks.choose("auto") == "numba"
    np.testing.assert_allclose(found, log_p(), rtol=1e-12)
    assert len(cupy.launches) == 1


def test_the_platform_is_that_of_the_default_device() -> None:
    assert callbacks.platform() == jax.default_backend()
    with jax.default_device(jax.devices("cpu")[0]):
        assert callbacks.platform() == "cpu"
    with jax.default_device("cpu"):
        assert callbacks.platform() == "cpu"
    assert callbacks._device_number() == (jax.local_devices()[0].local_hardware_id or 0)
    with jax.default_device(jax.devices("cpu")[0]):
        assert callbacks._device_number() == 0


@pytest.mark.parametrize("name", ["numba", "reference", "cuda"])
def test_the_environment_decides_where_no_argument_does(name: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(callbacks.VARIABLE, name)
    assert callbacks.choose("auto") == name
    assert callbacks.choose("reference") == "reference"
    expected = log_p("reference")
    np.testing.assert_allclose(log_p(), expected, rtol=1e-12)
    assert len(cupy.launches) == (name == "cuda")


def test_numba_on_a_gpu_goes_by_copies(cupy: Any) -> None:
    function = jax.jit(jax.vmap(lambda mean: poisson_log_likelihood(COUNTS, mean, backend="numba")))
    found = np.array(function(jnp.stack([MEAN, 2 * MEAN])))
    assert cupy.copies == 3  # counts, their log factorials, the means
    np.testing.assert_allclose(found[1], poisson_log_likelihood(COUNTS, 2 * MEAN, backend="reference"), rtol=1e-12)


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"unknown backend 'cudda'; did you mean 'cuda'\?"):
        callbacks.choose("cudda")
    monkeypatch.setenv(callbacks.VARIABLE, "nmba")
    with pytest.raises(InputError, match=r"unknown GAMMASKY_BACKEND 'nmba'; did you mean 'numba'\?"):
        callbacks.choose("auto")


@pytest.mark.usefixtures("no_cupy")
@pytest.mark.parametrize("how", ["argument", "environment", "platform"])
def test_cuda_without_cupy(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name, or because JAX runs on a GPU: never a slower backend in silence."""
    if how == "environment":
        monkeypatch.setenv(callbacks.VARIABLE, "cuda")
    if how == "platform":
        monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    with pytest.raises(
        InputError, match=r"^backend 'cuda': expected CuPy, got: .*; pip install 'gammasky\[cuda12\]'"
    ) as e:
        log_p("cuda" if how == "argument" else "auto")
    assert "\n" not in str(e.value)
    assert isinstance(e.value.__cause__, ImportError)


@pytest.mark.usefixtures("no_cupy", "tiny")
def test_the_command_line_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(callbacks.VARIABLE, "cuda")
    assert main(["loglike", "model.toml", "--data", "sky/dataset.toml", "--params", "point.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "backend 'cuda': expected CuPy" in line


def test_cuda_without_a_driver_or_device(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy.devices = 0
    with pytest.raises(InputError, match="expected a CUDA device, got none; see CUDA_VISIBLE_DEVICES"):
        callbacks.choose("cuda")

    def no_driver() -> int:
        raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version\nis insufficient")

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", no_driver)
    words = "got: cudaErrorInsufficientDriver: CUDA driver version is insufficient; see whether nvidia-smi lists one"
    with pytest.raises(InputError, match=f"^backend 'cuda': expected a CUDA device and its driver, {words}"):
        callbacks.choose("cuda")


def test_cuda_without_jax_on_a_gpu(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callbacks.choose("cuda") == "cuda"
    assert cupy.devices == 1
    monkeypatch.setattr(callbacks, "platform", lambda: "cpu")
    with pytest.raises(InputError, match=r"expected JAX on a GPU, got 'cpu'; pip install 'gammasky\[cuda12\]'"):
        callbacks.choose("cuda")


def test_a_source_is_compiled_once(cupy: Any) -> None:
    """However many kernels it has, and however often they are launched."""
    compiled: list[str] = []
    module = cupy.RawModule
    cupy.RawModule = lambda **given: (compiled.append(given["code"]), module(**given))[1]
    for _ in range(3):
        gpu.prepare("profiles", "nfw_nodes", "nfw_pixels", "disk_pixels")
        log_p("cuda")
    assert compiled == [gpu.source(family) for family in ("profiles", "poisson")]


def test_the_stream_of_older_cupy(cupy: Any) -> None:
    """Before CuPy 14 a stream is taken over by its address alone."""
    del cupy.cuda.Stream.from_external
    log_p("cuda")
    assert [launch.stream for launch in cupy.launches] == [STREAM]


def test_kernels_are_loaded_where_jax_runs(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device that `jax.default_device` names, before the first launch."""
    loaded: list[int] = []
    monkeypatch.setattr(gpu, "prepare", lambda *_: loaded.append(cupy.cuda.Device().id))
    for number in (0, 3):
        monkeypatch.setattr(callbacks, "_device_number", lambda number=number: number)
        log_p("cuda")
    assert loaded == [0, 3]


def backend_of_doctor() -> doctor.Finding:
    (finding,) = (found for found in doctor.examine() if found.name == "kernel backend")
    return finding


def test_doctor_shows_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend_of_doctor().value == f"numba (JAX runs on {jax.default_backend()})"
    monkeypatch.setenv(callbacks.VARIABLE, "reference")
    assert backend_of_doctor().value == "reference (GAMMASKY_BACKEND=reference)"


@pytest.mark.usefixtures("cupy")
def test_doctor_shows_the_device() -> None:
    assert backend_of_doctor().value == "cuda (JAX runs on gpu, device 0: Paper GPU, sm_90, CuPy 14.2.0)"


@pytest.mark.usefixtures("no_cupy")
def test_doctor_says_what_cuda_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(callbacks.VARIABLE, "cuda")
    finding = backend_of_doctor()
    assert finding.status == "missing"
    assert "pip install 'gammasky[cuda12]'" in finding.value
