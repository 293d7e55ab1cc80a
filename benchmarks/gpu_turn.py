"""What the workers of `gpu_check.py` have in common: their turn, rows of the table, the model."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DRY = os.environ.get("GPU_CHECK") == "dry"
ROOM = Path(os.environ.get("GPU_CHECK_ROOM", "."))
ME = os.environ.get("GPU_CHECK_WORKER", "")
BEGAN = float(os.environ.get("GPU_CHECK_BEGAN") or time.time())
PARTICLES = (1, 2) if DRY else (1, 8, 64)
USUAL = PARTICLES[1]
STEPS, TURNS, REPEATS = (3, 3, 2) if DRY else (490, 50, 30)  # of a fit, of a loop, of a call
Floats = Any


def say(*words: object) -> None:
    """Print with the time since the check began."""
    print(f"[{time.time() - BEGAN:5.0f} s]", *words, flush=True)


def row(name: str, value: float, unit: str = "") -> None:
    """One line of the table."""
    with (ROOM / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps([ME, name, float(value), unit]) + "\n")
    say(f"RESULT {name}: {value:.6g} {unit}")


def ready() -> None:
    """Everything is compiled: wait for the turn."""
    (ROOM / f"{ME}.ready").touch()
    say("ready")
    while not (ROOM / f"{ME}.go").exists():
        time.sleep(0.05)


def median_ms(function: Callable[..., Any], *arguments: Any, repeats: int = REPEATS) -> float:
    """Time of a call, after three that do not count."""
    import jax

    times = []
    for number in range(3 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start if number >= 3 else np.nan)
    return 1e3 * float(np.nanmedian(times))


def fiducial(backend: str = "auto") -> Any:
    """The model on the Fermi-LAT data."""
    import gammasky

    gammasky.configure()
    import jax

    from gammasky.engine.model import SkyModel
    from gammasky.engine.sky.dataset import Dataset

    model = SkyModel("fiducial", Dataset.open("fermi", None), backend=backend)
    say("JAX", jax.__version__, jax.devices(), "kernels", model.backend)
    return model


def prior_draws(model: Any, particles: int) -> Floats:
    """Latent points near the middle of the prior."""
    return 0.5 * np.random.default_rng(5).normal(size=(particles, model.n_latent))
