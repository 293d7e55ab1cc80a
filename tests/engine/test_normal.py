"""The normal distribution function against SciPy's, and its slope."""

from __future__ import annotations

import jax
import numpy as np
from scipy import special
from scipy.stats import norm

from gammasky.engine.normal import normal_cdf

Z = np.concatenate([np.linspace(-37.0, 9.0, 2001), [0.0, -1e-300, 40.0]])


def test_values_are_right_in_both_tails() -> None:
    np.testing.assert_allclose(normal_cdf(Z), special.ndtr(Z), rtol=4e-13)
    np.testing.assert_array_equal(normal_cdf(np.array([-np.inf, np.inf])), [0.0, 1.0])
    assert np.isnan(normal_cdf(np.array(np.nan)))


def test_the_slope_is_the_density() -> None:
    np.testing.assert_allclose(jax.vmap(jax.grad(normal_cdf))(Z), norm.pdf(Z), rtol=4e-13)
