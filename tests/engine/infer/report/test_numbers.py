"""Numbers and models as the report writes them, and how many sources there are."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import numpy as np
import pytest

from gammasky.engine.infer.report import sources
from gammasky.engine.infer.report.model_toml import model_toml
from gammasky.engine.infer.report.numbers import described, interval, number
from gammasky.engine.infer.report.sky import count
from gammasky.engine.model import ModelSpec, model_from_table, presets, read_model


@pytest.mark.parametrize("name", sorted(presets()))
def test_toml_gives_the_model_back(name: str) -> None:
    spec = read_model(name)
    assert model_from_table(tomllib.loads(model_toml(spec))) == spec


def test_toml_of_odd_names() -> None:
    table_ = {
        "name": 'quo"te\\',
        "description": "line\nbreak \x7f é",
        "parameters": {"a b": {"prior": "uniform", "low": -1e-300, "high": 1.0}},
        "components": [{"name": "x.y", "norm": "a b", "template": {"map": "m", "hemisphere": "north"}}],
    }
    spec = ModelSpec.model_validate(table_)
    assert model_from_table(tomllib.loads(model_toml(spec))) == spec


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.8612, 0.05, "0.861"),
        (11.258, 0.155, "11.26"),
        (-4974.9078, 0.1, "−4,974.91"),
        (12345, None, "12,345"),
        (0.82, None, "0.82"),
        (212.0, None, "212"),
        (1.234e-9, None, "1.23 × 10⁻⁹"),
        (0.0, None, "0"),
        (None, None, "–"),
        (math.nan, 1.0, "–"),
        ("svi", None, "svi"),
        (1.5, 0.0, "1.500"),
        (12_345_678, None, "12,345,678"),
        (-1_234_567.891, 0.1, "−1,234,567.89"),
        (1_234_567.891, 5000.0, "1.23 × 10⁶"),
    ],
)
def test_numbers(value: Any, spread: float | None, text: str) -> None:
    assert number(value, spread) == text


def test_a_fixed_number_has_no_interval() -> None:
    assert described(dict.fromkeys(("q05", "q16", "q50", "q84", "q95"), 17.11)) == ["17.11", "fixed", "fixed"]
    numbers = {"q05": 1.0, "q16": 1.5, "q50": 2.0, "q84": 2.5, "q95": 3.0}
    assert described(numbers) == ["2.00", "1.50 – 2.50", "1.00 – 3.00"]


def test_intervals_and_counts() -> None:
    assert interval(-1.0, 2.0, 0.5) == "−1.00 to 2.00"
    assert interval(1.0, 2.0, 0.5) == "1.00 – 2.00"
    assert [count(v) for v in (0.123, 3.44, 9.97, 56.3, 1234.0, 45_678.0)] == [
        "0.12",
        "3.4",
        "10",
        "56",
        "1,230",
        "45,700",
    ]


def test_sources_above_a_power_law() -> None:
    grid = np.geomspace(0.1, 100.0, 4000)
    values = np.stack([grid**-2.0, 3 * grid**-1.5])
    for threshold in (0.1, 1.0, 7.3, 99.0):
        exact = [1 / threshold - 0.01, 6 * (threshold**-0.5 - 0.1)]
        np.testing.assert_allclose(sources.sources_above(grid, values, threshold), exact, rtol=1e-5)
    np.testing.assert_array_equal(sources.sources_above(grid, values, 100.0), [0.0, 0.0])
    np.testing.assert_allclose(sources.sources_above(grid, values, 0.01), [9.99, 6 * (0.1**-0.5 - 0.1)], rtol=1e-5)


@pytest.mark.parametrize("background", [1e-3, 0.3, 19.8, 5000.0])
def test_detectable_counts(background: float) -> None:
    found = sources.detectable_counts(background)
    total = background + found
    assert 2 * (total * math.log(total / background) - found) == pytest.approx(25.0)
    if background == 5000.0:
        assert found == pytest.approx(5 * math.sqrt(background), rel=0.03)
