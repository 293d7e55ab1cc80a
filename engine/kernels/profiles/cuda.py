"""Launchers of the line-of-sight kernels on a GPU. The geometry goes to the device once, before the first launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.profiles.geometry import LANES, DiskSky, NFWSky

PER_PROCESSOR = 16
#: Threads that share a block of lines of the disk, and points that they take together; as in the source.
TEAM, POINTS = 64, 4


def prepare(sky: NFWSky | DiskSky) -> None:
    """Compile and load the kernels, and copy the geometry, on the current device."""
    gpu.prepare("profiles", "nfw_nodes", "nfw_pixels", "disk_pixels")
    _arrays(sky)


def _arrays(sky: NFWSky | DiskSky) -> tuple[Any, ...]:
    """The arrays of a sky on the current device, those of its groups last."""
    own = (sky.log_shape, sky.weight, sky.cardinal) if isinstance(sky, NFWSky) else sky.nodes
    return gpu.kept_on_device(sky, (*own, sky.groups.order, sky.groups.starts, sky.groups.inverse))


def scratch_shapes(sky: NFWSky | DiskSky) -> list[tuple[int, ...]]:
    """Shapes of the room that one parameter point needs: log J and its slope at the Chebyshev angles."""
    return [(2, sky.log_shape.shape[1])] if isinstance(sky, NFWSky) else []


def nfw_squared(sky: NFWSky, outputs: Sequence[Any], scratch: Sequence[Any], gamma: Any) -> None:
    """Fill J and dJ/dgamma (..., 2, N), for gamma (..., 1), on the current stream."""
    log_shape, weight, cardinal, *groups = _arrays(sky)
    (nodes, angles), lines, batch = log_shape.shape, cardinal.shape[1], gamma.size
    gpu.launch(
        "profiles", "nfw_nodes", gpu.blocks_for(batch * angles, 1, PER_PROCESSOR), gpu.WARP,
        batch, angles, nodes, gamma, log_shape, weight, scratch[0],
    )  # fmt: skip
    gpu.launch(
        "profiles", "nfw_pixels", gpu.blocks_for(batch * -(-lines // gpu.WARP), 1, PER_PROCESSOR), gpu.WARP,
        batch, angles, lines, sky.n_pixels, cardinal, *groups, scratch[0], *outputs,
    )  # fmt: skip


def lorimer_disk(sky: DiskSky, outputs: Sequence[Any], _scratch: Sequence[Any], parameters: Any) -> None:
    """Fill D and its derivatives by z_s, C and B (..., 4, N), for these parameters (..., 3), on the current stream."""
    arrays = _arrays(sky)
    batch, lines = parameters.size // 3, sky.groups.starts.size - 1
    gpu.launch(
        "profiles", "disk_pixels", gpu.blocks_for(-(-batch // POINTS) * -(-lines // LANES), 1, PER_PROCESSOR), TEAM,
        batch, LANES, lines, sky.n_pixels, *arrays, parameters, *outputs,
    )  # fmt: skip
