"""A program that is kept is compiled once, and calls the kernels of whoever asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compiler

from gammasky.engine.kernels import callbacks
from tests.started.kept_programs import CAN_LOAD, kept_in


def wave(factor: float) -> Callable[[np.ndarray], jax.Array]:
    """sin(factor x), whose product is formed by a kernel."""

    def kernel(outputs: tuple[np.ndarray, ...], values: np.ndarray) -> None:
        outputs[0][...] = factor * values

    shape = jax.ShapeDtypeStruct((3,), np.float64)
    return jax.jit(lambda x: jnp.sin(callbacks.call("scaled", kernel, [shape], x)[0]))


@pytest.mark.skipif(not CAN_LOAD, reason="programs are not kept")
def test_the_same_program_with_another_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_anew, compiled = compiler.backend_compile_and_load, []

    def counted(*arguments: Any) -> Any:
        compiled.append(arguments)
        return compile_anew(*arguments)

    monkeypatch.setattr(compiler, "backend_compile_and_load", kept_in(tmp_path, counted))
    x = np.arange(3.0)
    for factor in (2.0, 5.0):
        np.testing.assert_allclose(wave(factor)(x), np.sin(factor * x))
    assert len(compiled) == 1


@pytest.mark.skipif(not CAN_LOAD, reason="programs are not kept")
def test_a_process_that_a_test_starts_finds_them(tmp_path: Path) -> None:
    script = "import jax; print(jax.jit(lambda x: 3.25 * x)(2.0), jax.config.jax_enable_compilation_cache)"

    def run() -> dict[str, int]:
        environment = {**os.environ, "GAMMASKY_TEST_PROGRAMS": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert done.stdout == "6.5 False\n", done.stderr
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    kept = run()
    assert kept
    assert run() == kept
