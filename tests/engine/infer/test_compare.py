"""Comparisons: differences with known answers, what is said about other data and models, one line for bad input."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from matplotlib.image import imread
from rich.console import Console

import gammasky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.compare import compare, comparison_table, evidence_lines, read_all, write_comparison
from gammasky.engine.infer.figures.compare import main_shared
from gammasky.engine.infer.figures.corner import axis_label, overlay, shown
from gammasky.engine.infer.report.fit_folder import Posterior
from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import LogUniform, Uniform
from tests.fits import fit_of

pytestmark = pytest.mark.usefixtures("compiled_fast")
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def two(tiny_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two fits of one sky, of different width; not to be written to."""
    folder, z = tmp_path_factory.mktemp("fits"), np.random.default_rng(3).normal(size=(500, tiny_model.n_latent))
    info = {"guide": "mvn", "seed": 3, "elbo_error": 0.1}
    wide = fit_of(folder / "a", tiny_model, z, {**info, "elbo": -101.0})
    return wide, fit_of(folder / "b", tiny_model, 0.5 * z, {**info, "elbo": -100.5})


@pytest.fixture
def pair(two: tuple[Path, Path]) -> dict[str, Posterior]:
    return read_all(two)


def changed(posterior: Posterior, **entries: Any) -> Posterior:
    """A posterior with other draws or attributes."""
    draws = {**posterior.draws, **entries.pop("draws", {})}
    attributes = {**posterior.attributes, **entries.pop("attributes", {})}
    return replace(posterior, draws=draws, attributes=attributes, **entries)


def test_known_shift_and_width(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    rng = np.random.default_rng(0)
    here, there = rng.normal(2.0, 0.3, 500), rng.normal(2.0, 0.3, 500)
    here, there = ((x - x.mean()) / x.std() for x in (here, there))
    a = changed(first, draws={"S_flat": 2 + 0.3 * here})
    b = changed(first, draws={"S_flat": 2.6 + 0.4 * there})
    (entry,) = [d for d in compare({"a": a, "b": b}).differences if d.name == "S_flat"]
    unit = math.sqrt(0.5 * (0.3**2 + 0.4**2))
    assert entry.shift == pytest.approx(0.6 / unit)
    assert entry.sd_ratio == pytest.approx(4 / 3)
    assert entry.sd == pytest.approx(unit)
    quantiles = np.abs(np.sort(2 + 0.3 * here) - np.sort(2.6 + 0.4 * there)).mean()  # of equally many draws
    assert entry.distance == pytest.approx(quantiles / unit)
    assert entry.distance >= abs(entry.shift) - 1e-12


def test_a_shape_that_means_do_not_see(pair: dict[str, Posterior]) -> None:
    first, n = pair["a"], 500
    one = np.random.default_rng(1).normal(0.0, 1.0, n)
    two_lumps = np.where(np.arange(n) % 2, 3.0, -3.0)
    a, b = (changed(first, draws={"Sps": draws - draws.mean()}) for draws in (one, two_lumps))
    (entry,) = [d for d in compare({"a": a, "b": b}).differences if d.name == "Sps"]
    assert abs(entry.shift) < 1e-12
    assert entry.distance > 0.8


def test_the_same_posterior_does_not_differ(pair: dict[str, Posterior]) -> None:
    found = compare({"a": pair["a"], "again": pair["a"]})
    assert {(d.shift, d.distance, d.sd_ratio) for d in found.differences} == {(0.0, 0.0, 1.0)}
    assert found.notes == ()
    assert {d.name for d in found.differences} == {
        "S_flat",
        "Sps",
        "mix[flat]",
        "mix[peak]",
        "point_source_fraction[all]",
    }


def test_worst_first(pair: dict[str, Posterior]) -> None:
    distances = [entry.distance for entry in compare(pair).differences]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.2


def test_log_uniform_parameters_are_compared_as_log10(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    prior = LogUniform(prior="loguniform", low=1e-6, high=1e3)
    spec = first.spec.model_copy(update={"parameters": {**first.spec.parameters, "Sps": prior}})
    draws = 10.0 ** np.random.default_rng(2).normal(-2, 0.5, 500)
    a, b = changed(first, spec=spec, draws={"Sps": draws}), changed(first, spec=spec, draws={"Sps": 10 * draws})
    (entry,) = [d for d in compare({"a": a, "b": b}).differences if d.name == "Sps"]
    assert entry.log10
    assert entry.shift == pytest.approx(1 / np.log10(draws).std())
    np.testing.assert_allclose(shown(prior, draws), np.log10(draws))
    assert axis_label(prior, "Sps") == r"$\log_{10}$ Sps"
    assert axis_label(Uniform(prior="uniform", low=0, high=1, unit="kpc"), "zs", "\n") == "zs\n[kpc]"


def test_what_else_differs_is_said(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    parameters = {**first.spec.parameters, "Sps": Uniform(prior="uniform", low=0.0, high=2.0)}
    other = changed(
        first, spec=first.spec.model_copy(update={"parameters": parameters}), attributes={"dataset": "elsewhere"}
    )
    assert compare({"a": first, "b": other}).notes == (
        "'a' and 'b': different data sets, tiny and elsewhere",
        "'a' and 'b': the model tiny differs in parameters",
        "'a' and 'b': different priors of Sps",
    )
    renamed = changed(first, spec=first.spec.model_copy(update={"name": "big"}), counts=first.counts + 1)
    assert compare({"a": first, "b": renamed}).notes == (
        "'a' and 'b': different pixels or counts of the data set tiny",
        "'a' and 'b': different models, tiny and big",
    )
    doubtful = changed(first, attributes={"verdict": {"level": "unreliable"}})
    assert compare({"a": first, "b": doubtful}).notes == ("'b' is marked unreliable",)


def test_evidence_only_on_the_same_counts(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    a = changed(first, attributes={"diagnostics": {"log_z": -50.0, "log_z_error": 0.3}})
    b = changed(first, attributes={"diagnostics": {"log_z": -48.0, "log_z_error": 0.4}})
    found = compare({"a": a, "b": b})
    assert found.log_z_differences["b"] == pytest.approx((2.0, 0.5))
    assert "log Z minus that of 'a' +2.00 +- 0.50" in evidence_lines(found)[1]
    elsewhere = compare({"a": a, "b": replace(b, counts=b.counts + 1)})
    assert elsewhere.log_z_differences == {}
    assert "minus" not in evidence_lines(elsewhere)[1]
    assert "log Z -48.00 +- 0.40" in evidence_lines(elsewhere)[1]


def test_rounding_is_no_difference(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    rounded = 14.67 * (1 + 1e-15 * np.random.default_rng(2).normal(size=500))
    a = changed(first, draws={"S_flat": np.full(500, 14.67)})
    b = changed(first, draws={"S_flat": rounded})
    assert rounded.std() > 0
    assert "S_flat" not in [entry.name for entry in compare({"a": b, "b": a}).differences]
    varying = changed(first, draws={"S_flat": np.linspace(14.0, 15.0, 500)})
    (entry,) = [d for d in compare({"a": b, "b": varying}).differences if d.name == "S_flat"]
    assert entry.sd_ratio is None


def test_fits_of_different_methods(two: tuple[Path, Path], tmp_path: Path) -> None:
    told = {
        "svi": {"elbo": -101.5, "elbo_error": 0.1, "log_z": -100.5, "log_z_error": 0.2, "k_hat": 0.5},
        "nuts": {"r_hat_max": 1.003, "slowest": "Sps", "divergent": 0.0},
        "laplace": {"log_z": -100.0, "log_z_error": None},
        "auto": {"log_z": -100.25, "log_z_error": 0.15, "log_z_by_method": {"bridge": [-100.25, 0.15]}},
    }
    folders = []
    for method, diagnostics in told.items():
        folder = Path(shutil.copytree(two[0] if method == "svi" else two[1], tmp_path / method))
        with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
            tree.load()
        for name in ("elbo", "elbo_error", "guide"):
            del tree.attrs[name]
        if method in ("nuts", "auto"):  # five chains
            draws = tree["posterior"].to_dataset().isel(chain=0)
            parts = [draws.isel(draw=slice(n, None, 5)).assign_coords(draw=np.arange(100)) for n in range(5)]
            tree["posterior"] = xarray.DataTree(xarray.concat(parts, dim="chain"))
        (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        summary |= {"fit": {"method": method, "seed": 3}, "diagnostics": {"method": method, **diagnostics}}
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        folders.append(folder)
    found, _ = write_comparison(folders, tmp_path / "out")
    assert found.evidence["nuts"] == {}
    assert set(found.log_z_differences) == {"laplace", "auto"}
    assert found.log_z_differences["auto"] == pytest.approx((0.25, 0.25))
    assert found.log_z_differences["laplace"] == (0.5, math.inf)
    by_name = [{d.name: d.distance for d in found.differences if d.other == other} for other in ("nuts", "laplace")]
    assert by_name[0] == pytest.approx(by_name[1])  # chain by chain or not: the same draws
    printed = evidence_lines(found)
    assert "auto: log Z -100.25 +- 0.15, log Z minus that of 'svi' +0.25 +- 0.25" in printed
    assert "laplace: log Z -100.00, log Z minus that of 'svi' +0.50 (error unknown)" in printed
    assert not any(line.startswith("nuts:") for line in printed)
    content = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert content["log_z_differences"]["laplace"] == [0.5, None]


def test_nothing_in_common(pair: dict[str, Posterior]) -> None:
    first = pair["a"]
    names = {name: f"other_{name}" for name in first.draws}
    other = replace(
        first,
        spec=first.spec.model_copy(update={"name": "other", "parameters": {}}),
        draws={names[name]: draws for name, draws in first.draws.items()},
        elements={names[name]: labels for name, labels in first.elements.items()},
    )
    with pytest.raises(InputError, match="'a' and 'b' share no parameter, flux or point-source fraction"):
        compare({"a": first, "b": other})


def test_labels_tell_fits_apart(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert list(read_all(two)) == ["a", "b"]
    for place in ("x", "y"):
        shutil.copytree(two[0], tmp_path / place / "fit")
    assert list(read_all([tmp_path / "x" / "fit", tmp_path / "y" / "fit"])) == ["x/fit", "y/fit"]
    shutil.copy(two[0] / "posterior.nc", tmp_path / "nuts.nc")
    assert list(read_all([two[1], tmp_path / "nuts.nc"])) == ["b", "nuts"]
    assert list(read_all([two[1], two[0] / "posterior.nc"])) == ["b", "a"]


def test_the_same_fit_twice(two: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="is given twice"):
        read_all([two[0], two[0] / "posterior.nc"])
    with pytest.raises(InputError, match="at least two fits, got 1"):
        read_all([two[0]])


def test_diagnostics_of_a_summary_are_read(two: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(two[1], tmp_path / "b"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary |= {"diagnostics": {"log_z": -9.0}, "verdict": {"level": "preview"}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    found = compare(read_all([two[0], folder]))
    assert found.evidence["b"]["log_z"] == -9.0
    assert "'b' is marked preview" in found.notes


def test_files(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found, drawn = write_comparison(two, out)
    assert sorted(drawn) == sorted(out.glob("*.png"))
    assert {path.name for path in out.iterdir()} == {"compare.json", "corner.png", "dnds.png", "fluxes.png"}
    for path in out.glob("*.png"):
        assert imread(path).std() > 0.03
    content = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert content["labels"] == ["a", "b"]
    assert [entry["name"] for entry in content["differences"]] == [entry.name for entry in found.differences]
    assert content["evidence"]["a"] == {"elbo": -101.0, "elbo_error": 0.1}
    assert comparison_table(found).title == "b against a"
    assert "b: ELBO -100.50 +- 0.10" in evidence_lines(found)
    (out / "corner.png").write_bytes(b"")
    write_comparison(two, out)
    assert imread(out / "corner.png").std() > 0.03


def test_the_table_names_the_other_where_there_are_several(pair: dict[str, Posterior]) -> None:
    one, several = compare(pair), compare({**pair, "[c]": pair["b"]})
    stream = io.StringIO()
    Console(file=stream, width=100).print(comparison_table(one))
    assert "distance [sd]" in stream.getvalue()  # a unit in brackets is no markup
    assert [column.header for column in comparison_table(several).columns][:2] == ["number", "of"]


def test_a_fit_that_is_not_there_leaves_no_folder(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        write_comparison([two[0], tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_main_parameters_come_first(pair: dict[str, Posterior]) -> None:
    assert main_shared(pair) == ["S_flat", "Sps"]
    told = {label: changed(p, attributes={"main_parameters": ["Sps"]}) for label, p in pair.items()}
    assert main_shared(told) == ["Sps"]
    fixed = {**pair, "b": changed(pair["b"], draws={"Sps": np.ones(500)})}
    assert main_shared(fixed) == ["S_flat"]


def test_overlaid_marginals_fit_into_their_panels() -> None:
    rng = np.random.default_rng(7)
    narrow, wide = rng.normal(0, 0.1, (2000, 2)), rng.normal(0, 1.0, (900, 2))
    figure = overlay([narrow, wide], ["x", "y"], [None, None])
    for number in (0, 3):
        low, high = figure.axes[number].get_ylim()
        span = figure.axes[number].get_xlim()
        highest = max(np.histogram(d[:, number // 3], 25, span)[0].max() / len(d) for d in (narrow, wide))
        assert low == 0
        assert high == pytest.approx(1.1 * highest)


def test_in_a_notebook(two: tuple[Path, Path]) -> None:
    found = gammasky.compare([two[0], gammasky.load(two[1])])
    table = found.table()
    assert list(table.columns) == ["number", "log10", "of", "distance", "shift", "sd_ratio"]
    assert (table["distance"].diff().dropna() <= 0).all()
    assert repr(found).startswith("<Fits a, b: largest difference")
    assert table["number"][0] in found._repr_html_()
    for what in ("corner", "dnds", "fluxes"):
        assert found.plot(what).axes
    with pytest.raises(InputError, match=r"figure 'cornr'.*'corner'"):
        found.plot("cornr")
    with pytest.raises(InputError, match="at least two fits, got 1"):
        gammasky.compare([two[0]])
