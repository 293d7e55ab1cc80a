"""Fits of populations in space: luminosities and numbers of sources in summaries, files, reports and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import gammasky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.citations import citations
from gammasky.engine.infer.derived import LUMINOSITY, derive
from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.infer.report.fit_folder import read_fit
from gammasky.engine.infer.report.page import write_report
from gammasky.engine.infer.result import marginals, quoted
from gammasky.engine.infer.simulate import SimulationPlan, simulate_to_folder
from gammasky.engine.infer.verdict import shifts
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset

MODEL: dict[str, Any] = {
    "name": "in space",
    "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot"},
    "source_grid": {"min": 0.05, "max": 200.0, "nodes": 100},
    "parameters": {
        "S_flat": {"prior": "uniform", "low": 0.5, "high": 6.0},
        "Sps": {"prior": "uniform", "low": 0.1, "high": 9.0},
        "L": {"prior": "loguniform", "low": 1e34, "high": 1e37, "unit": "s^-1"},
    },
    "components": [
        {"name": "flat", "group": "all", "norm": "S_flat", "template": "flat"},
        {"name": "sources", "group": "all", "norm": "Sps", "template": {"nfw": {"gamma": 1.2}},
         "luminosity": {"median": "L", "sigma_dex": 0.4, "shells": 6, "threshold_cm2_s": 1e-9}},
    ],
}  # fmt: skip
TRUTH = {"S_flat": 2.0, "Sps": 3.0, "L": 8e35}
NUMBERS = [
    "sources, mean luminosity", "sources, sources", "sources, sources in the region",
    "sources, share of the flux on the source grid", "sources, sources in the region above 1e-09 cm-2 s-1",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> SkyModel:
    """The model on a sky that was simulated from it, photon by photon."""
    folder = tmp_path_factory.mktemp("skies")
    (folder / "model.toml").write_text(tomli_w.dumps(MODEL), encoding="utf-8")
    plan = SimulationPlan(n=1, seed=4, params=TRUTH, sources=True)
    simulate_to_folder(str(folder / "model.toml"), str(tiny_files / "sky"), None, folder / "out", plan, quiet=True)
    return SkyModel(folder / "model.toml", Dataset.open(folder / "out" / "sky_0000.toml"))


@pytest.fixture(scope="module")
def folder(model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short fit by chains, saved."""
    settings = gammasky.Settings(method="nuts", seed=1, chains=2, warmup=150, draws=150)
    return gammasky.fit(model, settings).save(tmp_path_factory.mktemp("fit") / "space")


def test_a_short_fit_finds_what_the_sky_was_made_of(folder: Path) -> None:
    summary = read_fit(folder).summary
    for name, true in TRUTH.items():
        entry = summary["parameters"][name]
        assert entry["truth"] == true
        assert abs(entry["mean"] - true) < 4 * entry["sd"], name
    numbers = summary[LUMINOSITY]
    assert list(numbers) == NUMBERS
    assert [entry["unit"] for entry in numbers.values()] == ["s-1", "sources", "sources", "1", "sources"]
    for name, entry in numbers.items():
        spread = max(entry["q95"] - entry["q05"], 1e-3 * entry["truth"])
        assert entry["q05"] - spread < entry["truth"] < entry["q95"] + spread, name
    assert numbers[NUMBERS[0]]["truth"] == pytest.approx(8e35 * np.exp(0.5 * (0.4 * np.log(10)) ** 2))


def test_the_file_holds_the_numbers_by_name(folder: Path) -> None:
    loaded = gammasky.load(folder)
    variable = loaded.inference_data["posterior"][LUMINOSITY]
    assert variable.dims[2:] == ("source_number",)
    assert variable["source_number"].values.tolist() == NUMBERS
    assert set(NUMBERS) <= set(loaded.summary(every=True).index)
    assert loaded.inference_data["predictions"]["dnds"].shape[1] == 1


def test_the_report_tells_them_and_their_source(folder: Path, model: SkyModel, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Luminosities and numbers of sources" in text
    for name in NUMBERS:
        assert name in text.replace("\u2009", " "), name
    assert (folder / "figures" / "dnds.png").is_file()
    assert (folder / "figures" / "predictive.png").is_file()
    assert any(work.key == "Ploeg2020" for work in citations(model.spec, []))


def test_luminosity_is_no_name_of_a_parameter(tiny_files: Path) -> None:
    parameters = {**MODEL["parameters"], LUMINOSITY: MODEL["parameters"]["L"]}
    del parameters["L"]
    own = MODEL["components"][1]
    renamed = {**own, "luminosity": own["luminosity"] | {"median": LUMINOSITY}}
    table = {**MODEL, "parameters": parameters, "components": [MODEL["components"][0], renamed]}
    other = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
    with pytest.raises(InputError, match="'luminosity': this name stands for something else in posterior files"):
        check_parameter_names(other.spec)


def test_the_verdict_rests_on_them(model: SkyModel) -> None:
    z = np.random.default_rng(2).standard_normal((40, model.n_latent))
    derived = derive(model, z)
    numbers = quoted(model, marginals(model, derived))
    assert [name for name in numbers if name.startswith("sources, ")] == NUMBERS
    np.testing.assert_array_equal(np.stack([numbers[name] for name in NUMBERS], axis=1), derived[LUMINOSITY])
    heavy = np.where(np.arange(40) == 3, 0.5, 0.5 / 39)
    weights = Importance(heavy, 0.3, ess=4.0, efficiency=0.1, log_z=0.0, log_z_error=0.1, elbo=0.0, elbo_error=0.1)
    told = shifts(model, derived, weights)
    column = derived[LUMINOSITY][:, 1]
    assert told["sources, sources"] == pytest.approx((heavy @ column - column.mean()) / column.std())
    assert set(NUMBERS) <= set(told)
