"""Two models of data are the same if the contents are: not by names of files, and not by what else was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer import Settings, fit
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky import GaussianPSF
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast")
SHORT = Settings(method="svi", emulator=False, guide="diagonal", steps=20, particles=2)


def test_a_fit_of_other_counts_is_not_gone_on_with(
    build: Callable[..., SkyModel], smooth_table: dict[str, Any], tmp_path: Path
) -> None:
    model = build(smooth_table)
    fit(model, SHORT, folder=tmp_path)
    other = model.with_counts(np.random.default_rng(1).permutation(model.pixels.counts))
    with pytest.raises(InputError, match="observation"):
        fit(other, SHORT, folder=tmp_path, resume=True)
    fit(other.with_counts(model.pixels.counts), SHORT, folder=tmp_path, resume=True)


def test_another_model_of_the_same_data_changes_nothing(small: Dataset, smooth_table: dict[str, Any]) -> None:
    dataset = replace(small, checksums=dict(small.checksums))
    model = SkyModel(model_from_table(smooth_table), dataset)
    before = model.identity, model.checksums
    table = smooth_table | {"components": [*smooth_table["components"]]}
    table["components"][1] = {"name": "ring", "norm": "S_peak", "template": "ring"}
    SkyModel(model_from_table(table), dataset)
    fresh = SkyModel(model_from_table(smooth_table), dataset)
    assert (model.identity, model.checksums) == before == (fresh.identity, fresh.checksums)


def test_everything_that_the_likelihood_depends_on_is_in_it(small: Dataset, population_table: dict[str, Any]) -> None:
    model = SkyModel(model_from_table(population_table), small)
    other_map = small.template("peak") ** 1.1
    changed = {
        "observation": [
            replace(small, counts=small.counts + 1),
            replace(small, exposure=small.exposure * 1.01),
            small.with_psf(GaussianPSF(sigma_deg=0.5)),
        ],
        "templates": [replace(small, _templates={**small._templates, "peak": other_map})],
    }
    for part, datasets in changed.items():
        for dataset in datasets:
            other = SkyModel(model_from_table(population_table), dataset)
            assert {name for name in model.identity if other.identity[name] != model.identity[name]} >= {part}
    region = {"region": {**population_table["region"], "mask": None}}
    assert SkyModel(model_from_table(population_table | region), small).pixels.digest != model.pixels.digest


def test_a_break_beyond_the_source_grid_is_refused(
    build: Callable[..., SkyModel], population_table: dict[str, Any]
) -> None:
    population_table["parameters"]["sb"] = {"prior": "uniform", "low": 1.0, "high": 1000.0}
    with pytest.raises(InputError, match=r"break 'sb' may lie anywhere from 1 to 1000 counts, but the source grid"):
        build(population_table)
