"""Placing photons with another array module: the same numbers, on the device, and only where kernels run there."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.engine.kernels import callbacks, gpu
from gammasky.engine.sky import pixel_fractions
from gammasky.engine.sky.psf import GaussianPSF

PSF = GaussianPSF(sigma_deg=0.6)
SIZE = {"n_positions": 512, "n_photons": 60, "bins": 20, "cache": False}


class Device(np.ndarray):
    """An array that stands for one on the device."""


class Recorder:
    """NumPy under the name of CuPy: it keeps the names of what is called, and takes arrays of its own alone."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.linalg = SimpleNamespace(norm=np.linalg.norm)

    def asarray(self, array: np.ndarray) -> np.ndarray:
        assert not isinstance(array, Device), "is there already"
        self.called.append("asarray")
        return array.copy().view(Device)

    def asnumpy(self, array: np.ndarray) -> np.ndarray:
        assert isinstance(array, Device), "never was there"
        self.called.append("asnumpy")
        return np.array(array)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            assert name == "eye" or any(isinstance(value, Device) for value in arguments), f"{name} on the host"
            self.called.append(name)
            return getattr(np, name)(*arguments, **options).view(Device)

        return call


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    monkeypatch.setattr(gpu, "array_library", lambda: recorder)
    monkeypatch.setattr(gpu, "on_device", lambda _number: nullcontext())
    monkeypatch.delenv(callbacks.VARIABLE, raising=False)
    return recorder


def test_another_array_module_gives_the_same_bits(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pixel_fractions(PSF, 32, **SIZE)
    chunks = SIZE["n_positions"] // sys.modules[pixel_fractions.__module__].CHUNK
    assert {"sin", "cos", "cross", "argmin", "abs", "eye"} <= set(recorder.called)
    assert recorder.called.count("asarray") == recorder.called.count("asnumpy") == 3 * chunks
    recorder.called.clear()
    monkeypatch.setenv(callbacks.VARIABLE, "numba")
    expected = pixel_fractions(PSF, 32, **SIZE)
    assert not recorder.called
    np.testing.assert_array_equal(found.fraction, expected.fraction)
    np.testing.assert_array_equal(found.weight, expected.weight)
