"""A whole sky model on the CUDA backend: every kernel of a fit, launched as on a GPU."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest

from gammasky.engine.model import SkyModel
from gammasky.engine.model.programs import Programs
from gammasky.engine.model.spec import model_from_table


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
    assert kernels == {"nptf_teams", "nptf_pixels", "nptf_regions", "nfw_nodes", "nfw_pixels", "disk_pixels"}
    for one, same, other in zip(found, again, on_cpu.value_and_gradient(z), strict=True):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10 * np.abs(other).max())


def test_members_side_by_side_are_one_launch(tiny_model: SkyModel, cupy: Any) -> None:
    """Skies of other counts and a sky of another prior: one launch of each kernel for all, and Numba's numbers."""
    table = tiny_model.spec.model_dump(mode="json")
    table["parameters"]["Sps"]["high"] *= 2.0
    specs = [tiny_model.spec, tiny_model.spec, model_from_table(table)]
    counts = [np.random.default_rng(number).permutation(tiny_model.pixels.counts) for number in range(3)]
    models = [SkyModel(spec, tiny_model.dataset).with_counts(of) for spec, of in zip(specs, counts, strict=True)]
    programs = Programs(3)
    for model in models:
        model.share(programs)
    z = 0.5 * np.random.default_rng(5).normal(size=(3, 2, tiny_model.n_latent))
    models[0].value_and_gradient(z[0])  # compiled
    cupy.launches.clear()
    gathering = programs.gathering
    gathering._busy = True
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(model.value_and_gradient, at) for model, at in zip(models, z, strict=True)]
        try:
            while len(gathering._waiting) < 3:
                assert not any(one.done() for one in asked)  # one that could not even ask
                threading.Event().wait(0.001)
        finally:
            with gathering._turn:
                gathering._busy = False
                gathering._turn.notify_all()
        found = [jax.block_until_ready(one.result()) for one in asked]
    launched = [launch.kernel for launch in cupy.launches]
    assert sorted(set(launched)) == ["nptf_pixels", "nptf_regions", "nptf_teams"]
    assert len(launched) == 3
    for (values, gradients), spec, of, at in zip(found, specs, counts, z, strict=True):
        on_cpu = SkyModel(spec, tiny_model.dataset, backend="numba").with_counts(of)
        expected = on_cpu.value_and_gradient(at)
        np.testing.assert_allclose(values, expected[0], rtol=1e-11)
        np.testing.assert_allclose(gradients, expected[1], rtol=1e-8, atol=1e-8)
