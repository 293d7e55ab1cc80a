"""The shipped models on the Fermi-LAT data."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gammasky.engine.model import SkyModel, presets
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.data

#: Dimension of the latent space, fitted pixels, exposure regions.
SIZES = {
    "fiducial": (37, 6839, 7),
    "fiducial_field": (238, 6839, 7),
    "fiducial_fraction": (37, 6839, 7),
    "gce_flows": (18, 6839, 1),
    "millisecond_pulsars": (28, 6839, 7),
    "nptfit_galactic_centre": (11, 11331, 1),
}


def test_every_preset_is_listed_here() -> None:
    assert set(SIZES) <= set(presets())


@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_preset_is_finite_over_its_prior(name: str, fermi_dir: Path) -> None:
    model = SkyModel(name, Dataset.open("fermi", fermi_dir))
    n_latent, n_fit, regions = SIZES[name]
    assert (model.n_latent, model.pixels.n_fit, model.pixels.exposure_ratios.size) == (n_latent, n_fit, regions)
    points = np.random.default_rng(4).normal(size=(8, n_latent))
    points[0] = 0.0
    values, gradients = model.value_and_gradient(jnp.asarray(points))
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).max(axis=0) > 0).all()  # at the middle of the priors no amplitude of a field counts


def test_the_fiducial_density_at_the_published_point(fermi_dir: Path) -> None:
    """Norms near the paper's posterior: far better than the middle of the prior, and slopes small by comparison."""
    model = SkyModel("fiducial", Dataset.open("fermi", fermi_dir))
    middle = {name: np.asarray(value).tolist() for name, value in model.parameters(jnp.zeros(model.n_latent)).items()}
    published = {"S_pib": 11.2, "S_ics": 5.9, "S_iso": 0.35, "S_bub": 1.29, "S_psc": 2.2, "S_gce": 0.37}
    published |= {"Sps_gce": 1.4, "Sps_dsk": 0.7, "gamma_ps": 0.96, "zs": 0.33, "C": 2.9, "f_bulge_ps": 0.38}
    at_middle = float(model.log_likelihood(model.point(middle)))
    at_published = float(model.log_likelihood(model.point(middle | published)))
    assert at_published > at_middle + 1000
    assert -21_500 < at_published < -20_000


def test_the_fractions_of_the_excess_have_uniform_priors(fermi_dir: Path) -> None:
    """Point-source fraction and bulge share of `fiducial_fraction`, which is `fiducial` with other coordinates."""
    data = Dataset.open("fermi", fermi_dir)
    model, plain = SkyModel("fiducial_fraction", data), SkyModel("fiducial", data)
    z = np.random.default_rng(8).normal(size=(20_000, model.n_latent))
    drawn = {name: np.asarray(v) for name, v in jax.jit(jax.vmap(model.parameters))(jnp.asarray(z)).items()}
    f, smooth, sources = drawn["f_gce"], drawn["f_bulge_poiss"][:, 0], drawn["f_bulge_ps"][:, 0]
    bulge = (1 - f) * smooth + f * sources
    for numbers in (f, bulge):
        assert stats.kstest(numbers, "uniform").statistic < 0.015  # 2.1 / sqrt(n): one in 10^4 by chance
    theta = {name: values[0] for name, values in drawn.items()}
    here = model.point({name: value.tolist() for name, value in theta.items()})
    there = {name: value.tolist() for name, value in theta.items() if name not in ("F_gce", "f_gce")}
    there |= {"S_gce": theta["F_gce"] * (1 - f[0]), "Sps_gce": theta["F_gce"] * f[0]}
    there |= {"f_bulge_poiss": smooth[0], "f_bulge_ps": sources[0]}
    expected_value = float(plain.log_likelihood(plain.point(there)))
    assert float(model.log_likelihood(here)) == pytest.approx(expected_value, rel=1e-12)
