"""summary.json against NumPy, and the table for the terminal."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gammasky.engine.files import write_json
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.summary import (
    described,
    summarise,
    summary_table,
    true_values,
)
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset

FIDUCIAL = ["S_pib", "S_ics", "S_gce", "Sps_gce", "Sps_dsk", "f_bulge_ps", "gamma_ps", "zs", "C"]


@pytest.fixture(scope="module")
def summary(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> dict[str, Any]:
    return summarise(small_fiducial, derived, {"guide": "iaf", "elbo": np.float64(-5.5), "steps": np.int64(7)})


def test_numbers(summary: dict[str, Any], derived: dict[str, np.ndarray]) -> None:
    columns = {
        ("parameters", "S_gce"): derived["S_gce"],
        ("parameters", "theta_pib[Api]"): derived["theta_pib"][:, 1],
        ("parameters", "Alm[2,1]"): derived["Alm"][:, 3],
        ("flux", "gce_ps"): derived["flux"][:, 6],
        ("point_source_fraction", "gce"): derived["point_source_fraction"][:, 0],
    }
    for (part, name), column in columns.items():
        entry = summary[part][name]
        assert entry["mean"] == pytest.approx(np.mean(column), rel=1e-12)
        assert entry["sd"] == pytest.approx(np.sqrt(np.sum((column - column.mean()) ** 2) / (len(column) - 1)))
        for percent in (5, 16, 50, 84, 95):
            assert entry[f"q{percent:02d}"] == pytest.approx(np.percentile(column, percent), rel=1e-12)


def test_every_element_is_there(summary: dict[str, Any], small_fiducial: SkyModel) -> None:
    sizes = [max(len(slot.labels), 1) for slot in small_fiducial.latent.slots.values()]
    assert len(summary["parameters"]) == sum(sizes)
    assert list(summary["flux"]) == [component.name for component in small_fiducial.spec.components]
    assert summary["parameters"]["zs"]["unit"] == "kpc"
    assert summary["flux"]["pib"]["unit"] == "counts/pixel"


def test_written_as_json(summary: dict[str, Any], tmp_path: Path) -> None:
    fit = {**summary["fit"], "elbo": float("nan"), "trace": np.array([1.0, np.inf]), "flag": np.bool_(True)}
    write_json(tmp_path / "summary.json", {**summary, "fit": fit})
    stored = json.loads((tmp_path / "summary.json").read_text())
    assert stored["fit"] == {"guide": "iaf", "elbo": None, "steps": 7, "trace": [1.0, None], "flag": True}
    assert stored["parameters"] == summary["parameters"]
    assert stored["data_sha256"]["maps/fermidata_counts.npy"] == summary["data_sha256"]["maps/fermidata_counts.npy"]
    assert {"gammasky", "jax", "numpyro", "numpy", "python"} == set(stored["versions"])
    assert stored["draws"] == 150


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt("in the middle")

    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_table(summary: dict[str, Any]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary_table(summary))
    text = stream.getvalue()
    for name in (*FIDUCIAL, "PS fraction (gce)", "fiducial on fermi", "counts/pixel"):
        assert name in text
    assert f"{summary['parameters']['S_gce']['q95']:.4g}" in text
    assert "n1_gce" not in text


def test_main_parameters_of_the_fiducial_model(small_fiducial: SkyModel) -> None:
    assert small_fiducial.main_parameters() == FIDUCIAL
    assert small_fiducial.main_parameters(most=5) == ["S_gce", "Sps_gce", "Sps_dsk"]
    assert small_fiducial.main_parameters(most=2) == ["S_gce", "Sps_gce"]
    assert len(small_fiducial.main_parameters(most=12)) == 12


def test_main_parameters_of_small_models(
    smooth_only: SkyModel, population_model: Callable[..., SkyModel], fermi: object
) -> None:
    assert fermi is smooth_only.dataset
    assert smooth_only.main_parameters() == ["A"]
    prior = {"prior": "loguniform", "low": 0.01, "high": 1.0}
    slope = {"prior": "uniform", "low": 2.1, "high": 4.0}
    counts = {"slopes": ["n1", 1.5], "breaks": [5.0]}
    model = population_model({"n1": slope, "A": prior}, amplitude="A", source_counts=counts)
    assert model.main_parameters() == ["A"]


def test_one_draw(smooth_only: SkyModel) -> None:
    found = summarise(smooth_only, derive(smooth_only, np.zeros((1, 1))), {})
    assert found["parameters"]["A"] == pytest.approx(
        {"mean": 2.0, "sd": 0.0, "q05": 2.0, "q16": 2.0, "q50": 2.0, "q84": 2.0, "q95": 2.0, "unit": ""}
    )
    assert found["point_source_fraction"] == {}


@pytest.fixture
def with_truth(tiny_files: Path) -> Callable[..., SkyModel]:
    """The tiny model on counts that are known to be drawn with some parameters."""

    def build(**truth: Any) -> SkyModel:
        dataset = Dataset.open(tiny_files / "sky")
        manifest = dataset.manifest.model_copy(update={"truth": truth})
        return SkyModel(tiny_files / "model.toml", replace(dataset, manifest=manifest))

    return build


TRUTH = {"S_flat": 2.0, "Sps": 3.0, "mix": (0.7, 0.3)}


def test_truth_beside_the_posterior(with_truth: Callable[..., SkyModel]) -> None:
    model = with_truth(**TRUTH, of_another_model=1.0)
    found = summarise(model, derive(model, np.random.default_rng(1).normal(size=(40, model.n_latent))), {})
    truth = {name: entry["truth"] for name, entry in found["parameters"].items()}
    assert truth == {"S_flat": 2.0, "Sps": 3.0, "mix[flat]": 0.7, "mix[peak]": 0.3}
    assert {name: entry["truth"] for name, entry in found["flux"].items()} == pytest.approx(
        {"smooth": 2.0, "sources": 3.0}
    )
    assert found["point_source_fraction"]["all"]["truth"] == pytest.approx(0.6)
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary_table(found))
    rows = [line.split() for line in stream.getvalue().splitlines()]
    heading = next(row for row in rows if "parameter" in row)
    assert [word for word in heading if word.isalpha()][:3] == ["parameter", "truth", "mean"]
    assert next(row for row in rows if "Sps" in row)[3] == "3"
    assert next(row for row in rows if "PS" in row)[5] == "0.6"


def test_what_is_not_known_has_no_truth(with_truth: Callable[..., SkyModel]) -> None:
    model = with_truth(S_flat=2.0, mix=0.5, Sps=(1.0, 2.0))  # two of other shapes: of another model
    assert {name: float(value) for name, value in true_values(model).items()} == {"S_flat": 2.0}
    found = summarise(model, derive(model, np.zeros((5, model.n_latent))), {})
    assert found["parameters"]["S_flat"]["truth"] == 2.0
    assert "truth" not in found["parameters"]["Sps"]
    assert all("truth" not in entry for entry in found["flux"].values())
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary_table(found))
    assert "truth" in stream.getvalue()


def test_without_truth_there_is_no_column(with_truth: Callable[..., SkyModel]) -> None:
    model = with_truth()
    assert true_values(model) == {}
    found = summarise(model, derive(model, np.zeros((5, model.n_latent))), {})
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary_table(found))
    assert "truth" not in stream.getvalue() + json.dumps(found)


def test_a_truth_that_the_model_excludes_is_shown_as_it_is(with_truth: Callable[..., SkyModel]) -> None:
    """The parameters of another model may share names: a fit is not lost for that at its very end."""
    model = with_truth(**TRUTH | {"mix": (0.7, 0.7), "S_flat": 99.0})
    assert float(true_values(model)["S_flat"]) == 99.0
    found = summarise(model, derive(model, np.zeros((5, model.n_latent))), {})
    assert found["parameters"]["mix[peak]"]["truth"] == 0.7


def test_weighted_numbers(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    """Equal weights change nothing; weights that leave draws out give the numbers of the others."""
    n = len(derived["S_gce"])
    equal = summarise(small_fiducial, derived, {}, np.full(n, 1 / n))["parameters"]["S_gce"]
    assert equal["weighted"]["mean"] == pytest.approx(equal["mean"])
    spread = np.ptp(np.sort(derived["S_gce"]))
    assert equal["weighted"]["q50"] == pytest.approx(equal["q50"], abs=0.05 * spread)
    half = np.where(np.arange(n) < n // 2, 1 / (n // 2), 0.0)
    found = summarise(small_fiducial, derived, {}, half)["parameters"]["S_gce"]["weighted"]
    kept = derived["S_gce"][: n // 2]
    assert found["mean"] == pytest.approx(kept.mean())
    assert found["sd"] == pytest.approx(kept.std())
    assert kept.min() <= found["q05"] <= found["q50"] <= found["q95"] <= kept.max()


@pytest.mark.parametrize("weights", [None, np.full(100, 0.01)])
def test_one_draw_that_is_not_finite_leaves_no_number(weights: np.ndarray | None) -> None:
    draws = np.random.default_rng(0).normal(size=100)
    assert np.isfinite(list(described(draws, weights).values())).all()
    draws[3] = np.nan
    assert np.isnan(list(described(draws, weights).values())).all()


def test_names_and_units_in_brackets_are_shown() -> None:
    entry = {"mean": 0.5, "unit": "counts [per pixel]"}
    summary = {"model_name": "my [own]", "dataset": "x", "parameters": {"mix[flat]": entry}}
    stream = io.StringIO()
    Console(file=stream, width=100).print(summary_table({**summary, "main_parameters": ["mix[flat]"]}))
    for text in ("my [own] on x", "mix[flat]", "counts [per pixel]"):
        assert text in stream.getvalue()
