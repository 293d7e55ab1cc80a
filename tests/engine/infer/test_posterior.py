"""posterior.nc: the ArviZ schema, everything that a reader needs, whole files only."""

from __future__ import annotations

import errno
import json
import os
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from scipy.stats import ks_2samp

from gammasky.engine.errors import InputError
from gammasky.engine.infer.posterior import check_parameter_names, read_posterior, write_posterior
from gammasky.engine.model import SkyModel, model_from_table

ATTRIBUTES = {"guide": "iaf", "seed": 3, "elbo": -20083.5, "converged": True, "schedule": {"lr": 3e-4, "decay": None}}


@pytest.fixture(scope="module")
def statistics(draws: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {"log_likelihood": rng.normal(-2e4, 5.0, len(draws)), "log_guide": rng.normal(-30.0, 5.0, len(draws))}


@pytest.fixture(scope="module")
def file(
    tmp_path_factory: pytest.TempPathFactory,
    small_fiducial: SkyModel,
    draws: np.ndarray,
    derived: dict[str, np.ndarray],
    statistics: dict[str, np.ndarray],
) -> Path:
    path = tmp_path_factory.mktemp("posterior") / "posterior.nc"
    write_posterior(path, small_fiducial, draws, **statistics, attributes=ATTRIBUTES, derived=derived)
    assert [entry.name for entry in path.parent.iterdir()] == ["posterior.nc"]
    return path


def test_arviz_reads_it(file: Path, derived: dict[str, np.ndarray]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ announces its own future when it is imported
        import arviz

    result = arviz.from_netcdf(str(file))
    assert dict(result.posterior.sizes)["chain"] == 1
    np.testing.assert_array_equal(result.posterior["S_gce"].values[0], derived["S_gce"])
    fraction = result.posterior["theta_ics"].sel(theta_ics_element="Fic").values[0]
    np.testing.assert_array_equal(fraction, derived["theta_ics"][:, 2])
    assert result.attrs["guide"] == "iaf"
    assert result.sample_stats["lp"].shape == (1, len(fraction))
    assert "counts" in result.observed_data
    assert "exposure_ratios" in result.constant_data


def test_round_trip(file: Path, small_fiducial: SkyModel, draws: np.ndarray, derived: dict[str, np.ndarray]) -> None:
    posterior = read_posterior(file)["posterior"]
    for name, values in {**derived, "z": draws}.items():
        np.testing.assert_array_equal(posterior[name].values, values[None], err_msg=name)
    assert posterior["theta_pib"].dims == ("chain", "draw", "theta_pib_element")
    assert posterior["theta_pib_element"].values.tolist() == ["Opi", "Api", "Fpi"]
    assert posterior["Alm_element"].values.tolist() == ["1,0", "1,1", "2,0", "2,1", "2,2"]
    assert posterior["component"].values.tolist() == ["pib", "ics", "iso", "bub", "psc", "gce", "gce_ps", "dsk_ps"]
    assert posterior["group"].values.tolist() == ["gce"]
    assert posterior["latent"].values.tolist() == small_fiducial.latent.names


def test_the_prior_of_derived_numbers_is_what_becomes_of_draws_from_it(file: Path, small_fiducial: SkyModel) -> None:
    """Uniform norms and the share that they make, by draws of our own."""
    prior = read_posterior(file)["prior"]
    assert set(prior.data_vars) == {"flux", "point_source_fraction"}
    assert prior["flux"].dims == ("chain", "draw", "component")
    assert prior["component"].values.tolist() == [component.name for component in small_fiducial.spec.components]
    smooth, sources = np.random.default_rng(8).uniform(1e-5, 4.0, (2, 200_000))
    found = {name: prior["flux"].sel(component=name).values.ravel() for name in ("gce", "gce_ps")}
    for name, values in {**found, "share": prior["point_source_fraction"].sel(group="gce").values.ravel()}.items():
        expected = {"gce": smooth, "gce_ps": sources, "share": sources / (smooth + sources)}[name]
        assert ks_2samp(values, expected).pvalue > 1e-3, name
    share = found["gce_ps"] / (found["gce"] + found["gce_ps"])
    np.testing.assert_allclose(prior["point_source_fraction"].values.ravel(), share, rtol=1e-10)


def test_statistics(file: Path, draws: np.ndarray, statistics: dict[str, np.ndarray]) -> None:
    stats = read_posterior(file)["sample_stats"]
    for name, values in statistics.items():
        np.testing.assert_array_equal(stats[name].values[0], values)
    log_prior = np.sum(-0.5 * draws**2 - 0.5 * np.log(2 * np.pi), axis=1)
    np.testing.assert_allclose(stats["lp"].values[0], statistics["log_likelihood"] + log_prior, rtol=1e-13)


def test_pixels(file: Path, small_fiducial: SkyModel) -> None:
    tree, pixels = read_posterior(file), small_fiducial.pixels
    np.testing.assert_array_equal(tree["observed_data/counts"].values, pixels.counts)
    constant = tree["constant_data"]
    wanted = {"healpix": pixels.index, "lon": pixels.lon_deg, "lat": pixels.lat_deg, "region": pixels.region}
    for name, values in wanted.items():
        np.testing.assert_array_equal(constant[name].values, values[: pixels.n_fit])
    np.testing.assert_array_equal(constant["exposure_ratios"].values, pixels.exposure_ratios)
    assert constant["lon"].attrs["units"] == "deg"
    assert constant.attrs["nside"] == 128


def test_units_and_priors(file: Path) -> None:
    posterior = read_posterior(file)["posterior"]
    assert posterior["S_pib"].attrs["units"] == "counts/pixel"
    assert posterior["S_pib"].attrs["prior"] == "uniform(low=0.001, high=14.0)"
    assert posterior["theta_pib"].attrs["prior"] == "dirichlet()"
    assert posterior["zs"].attrs["long_name"] == "scale height"
    assert posterior["flux"].attrs["units"] == "counts/pixel"


def test_attributes(file: Path, small_fiducial: SkyModel, fermi_dir: Path) -> None:
    attributes = read_posterior(file).attrs
    assert model_from_table(json.loads(attributes["model"])) == small_fiducial.spec
    assert (attributes["model_name"], attributes["dataset"]) == ("fiducial", "fermi")
    assert (attributes["guide"], attributes["seed"], attributes["elbo"]) == ("iaf", 3, -20083.5)
    assert attributes["converged"] == "true"
    assert json.loads(attributes["schedule"]) == {"lr": 3e-4, "decay": None}
    assert attributes["inference_library"] == "gammasky"
    assert datetime.fromisoformat(attributes["created_at"]).utcoffset().total_seconds() == 0
    assert set(json.loads(attributes["versions"])) == {"gammasky", "jax", "numpyro", "numpy", "python"}
    known = dict(reversed(line.split()) for line in (fermi_dir / "SHA256SUMS").read_text().splitlines())
    sums = json.loads(attributes["data_sha256"])
    assert {"maps/fermidata_counts.npy", "maps/template_Opi.npy"} <= set(sums)
    assert sums == {name: known.get(name, known.get(f"./{name}")) for name in sums}


def test_no_pickle_and_no_opaque_bytes(file: Path) -> None:
    import h5py

    kinds: set[str] = set()

    def look(_name: str, node: Any) -> None:
        values = [node] if isinstance(node, h5py.Dataset) else []
        kinds.update("text" if h5py.check_string_dtype(value.dtype) else value.dtype.kind for value in values)

    with h5py.File(file, "r") as stored:
        stored.visititems(look)
    assert kinds == {"f", "i", "text"}


def test_derived_numbers_are_found_where_they_are_not_given(
    tmp_path: Path, smooth_only: SkyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    z, zeros = np.array([[0.0], [1.0]]), np.zeros(2)
    write_posterior(tmp_path / "p.nc", smooth_only, z, log_likelihood=zeros, log_guide=zeros, attributes={})
    posterior = read_posterior(tmp_path / "p.nc")["posterior"]
    assert posterior["A"].values[0, 0] == pytest.approx(2.0)
    assert "point_source_fraction" not in posterior
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    content = file.read_bytes()
    damaged = tmp_path / "short.nc"
    damaged.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"short\.nc: not a NetCDF file, or damaged; run the fit again"):
        read_posterior(damaged)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.nc: no such posterior file"):
        read_posterior(tmp_path / "absent.nc")
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(InputError, match=r"text\.nc: not a NetCDF file"):
        read_posterior(str(tmp_path / "text.nc"))
    xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"foreign\.nc: not a posterior file of gammasky"):
        read_posterior(tmp_path / "foreign.nc")


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, smooth_only: SkyModel, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, zeros = tmp_path / "posterior.nc", np.zeros(1)
    options = {"log_likelihood": zeros, "log_guide": zeros, "attributes": {}}
    write_posterior(path, smooth_only, np.zeros((1, 1)), **options)
    old = path.read_bytes()
    monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*posterior\.nc'"):
        write_posterior(path, smooth_only, np.ones((1, 1)), **options)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["flux", "z", "draw", "component", "a/b", ""])
def test_names_that_the_file_cannot_hold(smooth_only: SkyModel, name: str) -> None:
    table = smooth_only.spec.model_dump()
    table["parameters"] = {name: table["parameters"]["A"]}
    table["components"][0]["norm"] = name
    with pytest.raises(InputError, match=rf"parameter '{name}': .*; rename it"):
        check_parameter_names(model_from_table(table))
    check_parameter_names(smooth_only.spec)
