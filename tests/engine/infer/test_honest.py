"""Adjusted posteriors: the covariance of the error for normal ones, a power of the likelihood for others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.infer.godambe import Godambe
from gammasky.engine.infer.honest import adjust_fit, adjusted, distance_from_normal
from gammasky.engine.infer.posterior import read_posterior
from gammasky.engine.infer.report import read_fit, report_page
from gammasky.engine.infer.result import log_likelihoods
from gammasky.engine.model import SkyModel
from gammasky.engine.model.templates import user
from gammasky.engine.model.terms import TERMS, Term, TermKind
from gammasky.engine.model.values import Use
from gammasky.engine.sky.dataset import Dataset
from tests.fits import fit_of

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")
GAUSSIAN = 'kind = "gaussian", sigma_deg = 3.0'


def godambe_of(covariance: np.ndarray, ratio: float) -> Godambe:
    """J = ratio * H_L, and a posterior of this covariance."""
    size = len(covariance)
    sensitivity = np.linalg.inv(covariance) - np.eye(size)
    return Godambe(np.zeros(size), sensitivity, ratio * sensitivity, np.eye(size), np.zeros(size), 100)


def normal_draws(n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    z = np.random.default_rng(1).multivariate_normal([0.5, -1.0], covariance, n)
    return z, covariance


def test_a_normal_posterior_is_mapped() -> None:
    z, covariance = normal_draws()
    found = godambe_of(covariance, 1.5)
    honest = adjusted(z, np.zeros(len(z)), found)
    assert honest.method == "affine"
    assert honest.distance < 0.03
    assert honest.reason.startswith("the posterior is nearly normal")
    np.testing.assert_allclose(honest.z.mean(axis=0), z.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.cov(honest.z.T), found.stretch @ np.cov(z.T) @ found.stretch.T)
    variances = np.diag(found.covariance)
    error = np.sqrt((np.outer(variances, variances) + found.covariance**2) / len(z))  # of a covariance of normal draws
    assert (np.abs(np.cov(honest.z.T) - found.covariance) < 4.5 * error).all()
    unchanged = adjusted(z, np.zeros(len(z)), godambe_of(covariance, 1.0))
    np.testing.assert_allclose(unchanged.z, z, atol=1e-10)


def test_a_bent_posterior_is_reweighted() -> None:
    """Two modes: a power of the likelihood keeps both where they are."""
    rng = np.random.default_rng(2)
    n = 40_000
    z = rng.normal([[0.5, 0.0]], [0.05, 1.0], (n, 2)) * np.where(rng.random((n, 1)) < 0.3, [[-1, 1]], 1)
    log_likelihood = stats.norm.logpdf(np.abs(z[:, 0]), 0.5, 0.05)
    found = godambe_of(np.diag([0.05**2, 0.9]), 1.3)
    honest = adjusted(z, log_likelihood, found, seed=4)
    assert honest.method == "power"
    assert honest.k_hat < 0.7
    assert "likelihood to the power 0.7" in honest.reason
    assert {tuple(row) for row in honest.z} <= {tuple(row) for row in z}
    width = np.abs(honest.z[:, 0]).std() / np.abs(z[:, 0]).std()
    assert width == pytest.approx(found.power**-0.5, rel=0.03)
    assert (honest.z[:, 0] < 0).mean() == pytest.approx(0.3, abs=0.03)


def test_weights_that_cannot_be_trusted_are_told() -> None:
    z = np.random.default_rng(3).exponential(1.0, (2000, 1))
    honest = adjusted(z, -40.0 * z[:, 0], godambe_of(np.array([[0.1]]), 3.0))
    assert honest.method == "affine"
    assert honest.k_hat > 0.7
    assert honest.reason.endswith("take these errors for a rough guide")


def test_distance_from_a_normal_distribution() -> None:
    at = (np.arange(20_000) + 0.5) / 20_000
    uniform, normal = at[:, None], stats.norm.ppf(at)[:, None]
    x = np.linspace(0, 1, 100_001)
    expected = np.abs(stats.norm.cdf((x - 0.5) * np.sqrt(12)) - x).max()
    assert distance_from_normal(uniform) == pytest.approx(expected, abs=1e-4)
    assert distance_from_normal(3.0 + 2.0 * normal) < 2e-4
    assert distance_from_normal(np.concatenate([normal, uniform], axis=1)) == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def made(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sky, the model and a fit, `fit`, of narrow normal draws; not to be written to."""
    folder = tmp_path_factory.mktemp("honest")
    shutil.copytree(tiny_files, folder, dirs_exist_ok=True)
    manifest = folder / "sky/dataset.toml"
    manifest.write_text(manifest.read_text().replace('kind = "delta"', GAUSSIAN), encoding="utf-8")
    model = SkyModel(folder / "model.toml", Dataset.open(folder / "sky"))
    z = np.array([0.1, 0.3, -0.2]) + 0.1 * np.random.default_rng(1).normal(size=(400, 3))
    info = {"method": "laplace", "seed": 0}
    fit_of(folder / "fit", model, z, info)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, as the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def summary(place: Path) -> dict[str, Any]:
    return json.loads((place / "fit/summary.json").read_text())


def test_a_fit_is_adjusted_in_its_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, plain = read_posterior("fit/posterior.nc"), summary(place)
    assert main(["honest", "fit", "--data", "sky", "--skies", "40", "--seed", "2", "--quiet"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("honest errors (affine, 40 skies): the posterior is nearly normal")
    entry = summary(place)["honest"]
    assert f"Sps {entry['parameters']['Sps']['factor']:.2f}" in shown[1]
    assert {name: value for name, value in summary(place).items() if name != "honest"} == plain
    after = read_posterior("fit/posterior.nc")
    for group in before.children:
        assert after[group].to_dataset().identical(before[group].to_dataset())
    draws = np.concatenate(after["honest"]["Sps"].values)
    assert draws.std(ddof=1) == pytest.approx(entry["parameters"]["Sps"]["sd"])
    row = plain["parameters"]["Sps"]
    assert entry["parameters"]["Sps"]["factor"] == pytest.approx(entry["parameters"]["Sps"]["sd"] / row["sd"])
    assert entry["parameters"]["Sps"]["factor"] > 1.05  # the sources' photons are spread over several pixels
    assert after["honest"].attrs["method"] == "affine"
    page = report_page(read_fit(place / "fit"))
    assert "Errors, honest about pixels that share sources" in page
    assert "Shaby" in page
    assert main(["honest", "fit", "--data", "sky", "--skies", "15", "--quiet"]) == 0  # takes the place of the first
    assert summary(place)["honest"]["skies"] == 15


def test_an_entry_that_is_damaged(place: Path) -> None:
    (place / "fit/summary.json").write_text(json.dumps({**summary(place), "honest": {"reason": "so"}}))
    with pytest.raises(InputError, match=r"summary\.json: damaged entry 'honest'; run `gammasky honest fit` again"):
        report_page(read_fit(Path("fit")))


def test_a_model_that_cannot_be_simulated(place: Path) -> None:
    """The likelihood bears a smooth mean below zero, photons do not."""
    text = (place / "model.toml").read_text()
    text = text.replace('"uniform", low = 0.5, high = 6.0', '"normal", mean = -0.4, sd = 0.01')
    text = text.replace('template = { mix = ["flat", "peak"], fractions = "mix" }', 'template = "flat"')
    text = text.replace("low = 0.1", "low = 3.0").replace('mix = { prior = "dirichlet" }\n', "")
    text += '[[components]]\nname = "base"\nnorm = 0.38\n'
    text += 'template = { mix = ["flat", "peak"], fractions = [0.95, 0.05] }\n'
    (place / "model.toml").write_text(text)
    np.save("sky/counts.npy", np.zeros(3072, dtype=int))
    model = SkyModel("model.toml", Dataset.open("sky"))
    z = 0.01 * np.random.default_rng(1).normal(size=(40, 2))
    fit_of(place / "negative", model, z, {"method": "laplace", "seed": 0})
    before = (place / "negative/posterior.nc").read_bytes()
    with pytest.raises(InputError, match="negative: no sky can be simulated at the best point of this fit: smooth"):
        adjust_fit(model, place / "negative", skies=20)
    assert (place / "negative/posterior.nc").read_bytes() == before
    assert "honest" not in json.loads((place / "negative/summary.json").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["honest", "none", "--data", "sky"], "none: no such folder; expected the folder of a fit"),
        (["honest", "sky", "--data", "sky"], "sky: holds no posterior.nc; expected the folder of a fit"),
        (["honest", "fit", "--data", "sky", "--skies", "14"], "--skies: expected at least 15, 5 for each of 3 latent"),
        (["honest", "fit", "--data", "other"], "posterior of other data than 'tiny': another observation"),
        (["fit", "model.toml", "--data", "sky", "--out", "x", "--honest", "--skies", "3"], "expected at least 15"),
        (["fit", "model.toml", "--data", "sky", "--out", "x", "--skies", "30"], "--skies is of --honest; give both"),
    ],
)
def test_bad_input(words: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("sky", "other")
    np.save("other/counts.npy", np.load("sky/counts.npy") + 1)
    before = (place / "fit/summary.json").read_bytes()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert (place / "fit/summary.json").read_bytes() == before
    assert not (place / "x").exists()


class Near(TermKind):
    """One parameter is known from elsewhere, with a normal error."""

    kind = "near"
    parameter: str
    mean: float
    sd: float

    def uses(self) -> Iterator[Use]:
        return iter(())

    def build(self, expectation: Any) -> Term:
        del expectation
        return NearTerm(self)


class NearTerm(Term):
    def __init__(self, near: Near) -> None:
        self.name, self.near, self.arrays = "near", near, {}

    def log_density(self, sky: Any, theta: Any, arrays: Any) -> Any:
        del sky, arrays
        return -0.5 * ((theta[self.near.parameter] - self.near.mean) / self.near.sd) ** 2

    def explain(self, sky: Any, theta: Any) -> str | None:
        del sky, theta
        return None


def test_the_power_is_of_the_likelihood_of_the_counts_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further term, which the Godambe information holds fixed like the prior, keeps its weight."""
    monkeypatch.setattr(TERMS, "kinds", dict(TERMS.kinds))
    TERMS.add(Near)
    text = (place / "model.toml").read_text()
    term = '\nterms = [{ term = "near", parameter = "Sps", mean = 3.0, sd = 0.5 }]\n'
    (place / "near.toml").write_text(text.replace("\n[parameters]", f"{term}[parameters]"))
    model, plain = (SkyModel(name, Dataset.open("sky")) for name in ("near.toml", "model.toml"))
    z = 0.1 * np.random.default_rng(1).normal(size=(40, 3))
    fit_of(place / "near", model, z, {"method": "laplace", "seed": 0})
    given: list[np.ndarray] = []

    def adjust(_z: np.ndarray, log_likelihood: np.ndarray, *_: Any) -> None:
        given.append(log_likelihood)
        raise InputError("reached")

    monkeypatch.setattr("gammasky.engine.infer.honest.adjusted", adjust)
    with pytest.raises(InputError, match="reached"):
        adjust_fit(model, place / "near", skies=15)
    np.testing.assert_allclose(given[0], log_likelihoods(plain, z), rtol=1e-12)
    assert np.abs(log_likelihoods(model, z) - given[0]).max() > 1.0


def test_a_python_function_is_run_if_its_model_file_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "shapes.py").write_text("import jax.numpy as jnp\n\ndef blob(parameters, lon, lat):\n    return lat**2\n")
    own = '\n[[components]]\nname = "own"\nnorm = 0.5\ntemplate = { function = "shapes.py:blob" }\n'
    (place / "own.toml").write_text((place / "model.toml").read_text() + own)
    model = SkyModel("own.toml", Dataset.open("sky"))
    fit_of(place / "own", model, np.zeros((4, model.n_latent)), {})
    adjusted_models: list[str] = []

    def adjust(model: SkyModel, *_: Any, **_options: Any) -> dict[str, Any]:
        adjusted_models.append(model.spec.components[-1].name)
        raise InputError("reached")

    monkeypatch.setattr("gammasky.engine.infer.honest.adjust_fit", adjust)
    for more, message in (([], "give its model file too"), (["--model", "own.toml"], "reached")):
        monkeypatch.setattr(user, "_named", {})  # as in a process that has read no model file
        assert main(["honest", "own", "--data", "sky", *more]) == 2
        assert message in capsys.readouterr().err
    assert adjusted_models == ["own"]
