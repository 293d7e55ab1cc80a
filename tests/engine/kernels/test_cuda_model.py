"""A whole sky model on the CUDA backend: every kernel of a fit, launched as on a GPU."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from gammasky.engine.model import SkyModel


@pytest.mark.data
@pytest.mark.slow
def test_value_and_gradient_of_the_fiducial_model(small_fiducial: SkyModel, cupy: Any) -> None:
    """Three points of the prior at once, against Numba; nothing is copied once the program is compiled."""
    z = 0.5 * np.random.default_rng(2).normal(size=(3, small_fiducial.n_latent))
    on_cpu = SkyModel(small_fiducial.spec, small_fiducial.dataset, backend="numba")
    model = SkyModel(small_fiducial.spec, small_fiducial.dataset)
    assert (on_cpu.backend, model.backend) == ("numba", "cuda")
    found = jax.block_until_ready(model.value_and_gradient(z))
    copied = cupy.copies
    again = jax.block_until_ready(model.value_and_gradient(z))
    assert cupy.copies == copied
    kernels = {launch.kernel for launch in cupy.launches}
    assert kernels == {"nptf_pixels", "nptf_sum", "nfw_nodes", "nfw_pixels", "disk_pixels"}
    for one, same, other in zip(found, again, on_cpu.value_and_gradient(z), strict=True):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10 * np.abs(other).max())
