"""Launchers of the line-of-sight kernels on a GPU. The geometry goes to the device once, before the first launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.profiles.geometry import LANES, DiskSky, NFWSky

PER_PROCESSOR = 8


def prepare(sky: NFWSky | DiskSky) -> None:
    """Compile and load the kernels, and copy the geometry, on the current device."""
    gpu.prepare("profiles", "nfw_nodes", "nfw_pixels", "disk_pixels")
    _arrays(sky)


def _arrays(sky: NFWSky | DiskSky) -> tuple[Any, ...]:
    """The arrays of a sky on the current device, those of its groups last."""
    own = (sky.log_shape, sky.weight, sky.cardinal) if isinstance(sky, NFWSky) else sky.nodes
    return gpu.kept_on_device(sky, (*own, sky.groups.order, sky.groups.starts))


def scratch_shapes(sky: NFWSky | DiskSky) -> list[tuple[int, ...]]:
    """Shapes of the room that one parameter point needs: log J and its slope at the Chebyshev angles."""
    return [(2, sky.log_shape.shape[1])] if isinstance(sky, NFWSky) else []


def nfw_squared(sky: NFWSky, outputs: Sequence[Any], scratch: Sequence[Any], gamma: Any) -> None:
    """Fill J and dJ/dgamma, each (..., N), for gamma (...), on the current stream."""
    log_shape, weight, cardinal, order, starts = _arrays(sky)
    (nodes, angles), lines, batch = log_shape.shape, cardinal.shape[1], gamma.size
    gpu.launch(
        "profiles", "nfw_nodes", gpu.blocks_for(batch * angles, 1, 2 * PER_PROCESSOR), gpu.WARP,
        batch, angles, nodes, gamma, log_shape, weight, scratch[0],
    )  # fmt: skip
    gpu.launch(
        "profiles", "nfw_pixels", gpu.blocks_for(batch * lines, gpu.THREADS, PER_PROCESSOR), gpu.THREADS,
        batch, angles, lines, sky.n_pixels, cardinal, order, starts, scratch[0], *outputs,
    )  # fmt: skip


def lorimer_disk(sky: DiskSky, outputs: Sequence[Any], _scratch: Sequence[Any], *parameters: Any) -> None:
    """Fill D and its derivatives by z_s, C and B, each (..., N), for parameters (...), on the current stream."""
    *nodes, order, starts = _arrays(sky)
    batch, lines = parameters[0].size, sky.groups.starts.size - 1
    gpu.launch(
        "profiles", "disk_pixels", gpu.blocks_for(batch * lines, gpu.WARP, 4 * PER_PROCESSOR), gpu.WARP,
        batch, LANES, lines, sky.n_pixels, *nodes, order, starts, *parameters, *outputs,
    )  # fmt: skip
