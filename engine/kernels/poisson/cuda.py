"""Launcher of the Poisson kernel on a GPU."""

from __future__ import annotations

from typing import Any

from gammasky.engine.kernels import gpu

PER_PROCESSOR = 8


def prepare() -> None:
    """Compile and load the kernel on the current device."""
    gpu.prepare("poisson", "poisson_pixels")


def evaluate(counts: Any, constant: Any, mean: Any, log_p: Any, slope: Any) -> None:
    """Fill `log_p` and `slope` (B, P) on the current stream; see `cpu.evaluate`."""
    (batch, pixels), plans = mean.shape, counts.shape[0]
    blocks = gpu.blocks_for(batch * pixels, gpu.THREADS, PER_PROCESSOR)
    gpu.launch(
        "poisson", "poisson_pixels", blocks, gpu.THREADS, batch, plans, pixels, counts, constant, mean, log_p, slope
    )
