"""summary.json against NumPy, and the table for the terminal."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.summary import main_parameters, summarise, summary_table, write_summary
from gammasky.engine.model import SkyModel

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
    write_summary(tmp_path / "summary.json", {**summary, "fit": fit})
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
    write_summary(path, {"a": 1})
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        write_summary(path, {"a": 2})
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
    assert main_parameters(small_fiducial) == FIDUCIAL
    assert main_parameters(small_fiducial, most=5) == ["S_gce", "Sps_gce", "Sps_dsk"]
    assert main_parameters(small_fiducial, most=2) == ["S_gce", "Sps_gce"]
    assert len(main_parameters(small_fiducial, most=12)) == 12


def test_main_parameters_of_small_models(
    smooth_only: SkyModel, population_model: Callable[..., SkyModel], fermi: object
) -> None:
    assert fermi is smooth_only.dataset
    assert main_parameters(smooth_only) == ["A"]
    prior = {"prior": "loguniform", "low": 0.01, "high": 1.0}
    slope = {"prior": "uniform", "low": 2.1, "high": 4.0}
    counts = {"slopes": ["n1", 1.5], "breaks": [5.0]}
    model = population_model({"n1": slope, "A": prior}, amplitude="A", source_counts=counts)
    assert main_parameters(model) == ["A"]


def test_one_draw(smooth_only: SkyModel) -> None:
    found = summarise(smooth_only, derive(smooth_only, np.zeros((1, 1))), {})
    assert found["parameters"]["A"] == pytest.approx(
        {"mean": 2.0, "sd": 0.0, "q05": 2.0, "q16": 2.0, "q50": 2.0, "q84": 2.0, "q95": 2.0, "unit": ""}
    )
    assert found["point_source_fraction"] == {}
