"""Skies that studies make: what is in them, that they are made once, and what the page says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.studies.report import recovered
from gammasky.analyses.studies.skies import make_skies
from gammasky.analyses.studies.study import InjectedSkies, SmoothSkies
from gammasky.engine.errors import InputError
from gammasky.engine.model.spec import model_from_table, read_model
from gammasky.engine.sky.dataset import Dataset

REGION = {"latitude_min": 2.0, "radius_max": 9.0, "exposure_regions": 1}
TABLE: dict[str, Any] = {
    "name": "base",
    "region": REGION,
    "parameters": {n: {"prior": "uniform", "low": 0.01, "high": 30.0} for n in ("S_pib", "S_ics", "S_gce", "Sps")},
    "components": [
        {"name": "pib", "norm": "S_pib", "template": "Opi"},
        {"name": "ics", "norm": "S_ics", "template": "Oic"},
        {"name": "gce", "group": "gce", "norm": "S_gce", "template": {"nfw": {"gamma": 1.2}}},
        {"name": "gce_ps", "group": "gce", "norm": "Sps", "template": {"nfw": {"gamma": 1.2}},
         "source_counts": {"slopes": [5.0, 1.0], "breaks": [10.0]}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return Dataset.open("demo")


def counts_of(entry: dict[str, str], region: Any) -> np.ndarray:
    return region.flatten(Dataset.open(entry["data"])).counts


def test_injected_photons(demo: Dataset, tmp_path: Path) -> None:
    """Their mean is the strength in every sky, and data without a signal are the data."""
    spec = model_from_table(TABLE)
    skies = InjectedSkies(kind="injected", strengths=[0.0, 2.0], number=3, seed=4)
    entries = make_skies(skies, spec, demo, "demo", tmp_path)
    assert [entry["name"] for entry in entries] == ["0.0", "2.0", "2.1", "2.2"]
    data, (nothing, first, second, third) = spec.region.flatten(demo), [counts_of(e, spec.region) for e in entries]
    np.testing.assert_array_equal(nothing, data.counts)
    added = np.array([first, second, third]) - data.counts
    assert added.min() >= 0
    n = data.counts.size
    assert added.mean() == pytest.approx(2.0, abs=5 * np.sqrt(2.0 / (3 * n)))
    assert (added[0] != added[1]).any()
    near = np.hypot(data.lon_deg, data.lat_deg)[:n] < 4
    assert added[:, near].mean() > 2 * added[:, ~near].mean()


def test_skies_are_made_once(demo: Dataset, tmp_path: Path) -> None:
    spec, skies = model_from_table(TABLE), InjectedSkies(kind="injected", strengths=[0.0, 1.0])
    entries = make_skies(skies, spec, demo, "demo", tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("sky_*")}
    assert make_skies(skies, spec, demo, "demo", tmp_path) == entries
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("sky_*")} == written
    kept = {path: path.read_bytes() for path in written}
    for path in written:
        path.unlink()
    make_skies(skies, spec, demo, "demo", tmp_path)
    assert {path: path.read_bytes() for path in written} == kept  # the same photons again

    more = InjectedSkies(kind="injected", strengths=[0.0, 1.0], number=2)
    kept_times = {path: path.stat().st_mtime_ns for path in written}
    assert [entry["name"] for entry in make_skies(more, spec, demo, "demo", tmp_path)] == ["0.0", "1.0", "1.1"]
    assert {
        path: path.stat().st_mtime_ns for path in written
    } == kept_times  # one more; without a signal all would be alike


@pytest.mark.slow
def test_smooth_skies_are_of_the_best_fit(demo: Dataset, tmp_path: Path) -> None:
    """As many photons as the data have, no point sources in the truth, another diffuse model."""
    spec = model_from_table(TABLE)
    skies = SmoothSkies(kind="smooth", truths={"A": {"diffuse": "A", "remove": ["gce_ps"]}}, number=2)
    entries = make_skies(skies, spec, demo, "demo", tmp_path)
    data, found = spec.region.flatten(demo), [counts_of(entry, spec.region) for entry in entries]
    assert set(Dataset.open(entries[0]["data"]).manifest.truth) == {"S_pib", "S_ics", "S_gce"}
    for counts in found:
        assert counts.mean() == pytest.approx(data.counts.mean(), rel=0.05)
    assert (found[0] != found[1]).any()
    assert found[0].var() < data.counts.var() * 1.2
    assert read_model("fiducial").components  # presets are untouched


def test_recovery_is_counted_from_the_data_alone() -> None:
    groups = [
        {"truth": "0", "choices": "x", "excess_flux": 1.5},
        {"truth": "0", "choices": "y", "excess_flux": 1.0},
        {"truth": "2", "choices": "x", "excess_flux": 3.4},
    ]
    assert recovered(groups, groups[2]) == pytest.approx(1.9)
    assert np.isnan(recovered(groups[1:], groups[2]))


def test_skies_of_other_settings_are_never_taken(demo: Dataset, tmp_path: Path) -> None:
    spec, skies = model_from_table(TABLE), InjectedSkies(kind="injected", strengths=[0.0, 1.0])
    make_skies(skies, spec, demo, "demo", tmp_path)
    smaller = model_from_table(TABLE | {"region": {**TABLE["region"], "radius_max": 7.0}})
    for other, model in ((skies.model_copy(update={"seed": 9}), spec), (skies.model_copy(update={"gamma": 1.0}), spec),
                         (skies, smaller)):  # fmt: skip
        with pytest.raises(InputError, match="made with another seed, truth, model or data; choose another folder"):
            make_skies(other, model, demo, "demo", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffuse": "B"}, "axis diffuse: unknown diffuse model 'B'"),
        ({"l_max": -1}, "axis l_max: expected a whole number from 0 to 16, got -1"),
        ({"regoin": {}}, "truth 'base': unknown section of a model 'regoin'; did you mean 'region'"),
    ],
)
def test_a_truth_that_cannot_be(changes: dict[str, Any], message: str, demo: Dataset, tmp_path: Path) -> None:
    skies = SmoothSkies(kind="smooth", truths={"base": changes})
    with pytest.raises(InputError, match=message):
        make_skies(skies, model_from_table(TABLE), demo, "demo", tmp_path)


def test_a_smooth_truth_has_no_sources(demo: Dataset, tmp_path: Path) -> None:
    skies = SmoothSkies(kind="smooth", truths={"base": {}})
    with pytest.raises(InputError, match=r"truth 'base': expected smooth emission only, got point sources \(gce_ps\)"):
        make_skies(skies, model_from_table(TABLE), demo, "demo", tmp_path)
