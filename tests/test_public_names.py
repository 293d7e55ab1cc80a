"""The names that users import, and the public operation as its docstring shows it."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

import gammasky
import gammasky.engine


@pytest.mark.parametrize("module", [gammasky, gammasky.engine])
def test_every_public_name_is_there(module: object) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="nptf_log_likelihood"):
        _ = gammasky.engine.likelihood


def test_public_operation_in_the_poisson_limit() -> None:
    """Sources so faint that none gives two photons: smooth emission of the same mean."""
    from gammasky.engine.sky import Response

    s_grid = np.geomspace(1e-9, 1e-7, 50)
    response = Response.build(s_grid, [1.0], [1.0], [0.9, 1.1], max_count=20)
    counts, region = np.array([0, 3, 20, 7]), np.array([0, 1, 1, 0])
    mean, templates = jnp.array([1.0, 2.0, 9.0, 0.5]), jnp.array([[1.0, 0.5, 2.0, 3.0]])
    dnds = jnp.asarray(2.0 / (s_grid * np.sum(response.quadrature)))[None]
    from_sources = 2.0 * np.asarray(templates[0]) * np.array([0.9, 1.1, 1.1, 0.9])
    log_p = gammasky.engine.nptf_log_likelihood(counts, mean, templates, dnds, response, region=region)
    np.testing.assert_allclose(log_p, poisson.logpmf(counts, np.asarray(mean) + from_sources), rtol=1e-6)
    slope = jax.grad(
        lambda m: gammasky.engine.nptf_log_likelihood(counts, m, templates, dnds, response, region=region).sum()
    )(mean)
    np.testing.assert_allclose(slope, counts / (np.asarray(mean) + from_sources) - 1, rtol=1e-6)


def test_single_precision_is_refused_with_the_remedy() -> None:
    code = (
        "import gammasky, types\n"
        "try: gammasky.SkyModel('fiducial', types.SimpleNamespace())\n"
        "except ValueError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert "call gammasky.configure()" in shown
