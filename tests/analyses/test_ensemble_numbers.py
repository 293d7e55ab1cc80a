"""Axes of numbers, axes that hang on others, and settings of the fit as an axis."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.numbers import Numbers
from gammasky.analyses.ensemble.plan import plan_table
from gammasky.distributed.member import Resources
from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import Settings

pytestmark = pytest.mark.usefixtures("tiny")
TOP = "parameters.S_flat.high"
ONE = {"slopes": [4.0, 1.0], "breaks": [10.0]}
TWO = {"slopes": ["n1", 1.5, "n3"], "breaks": [10.0, 5.0]}
PRIOR = {"prior": "uniform", "low": 2.5, "high": 6.0}
BREAKS = {
    "1": {"components.sources.source_counts": ONE},
    "2": {"components.sources.source_counts": TWO, "parameters.n1": PRIOR,
          "parameters.n3": {"prior": "uniform", "low": -3.0, "high": 0.0}},
}  # fmt: skip


def ensemble(axes: dict[str, Any], **changes: Any) -> Ensemble:
    """An ensemble on the tiny sky in the current folder."""
    return Ensemble(**{"name": "tiny", "model": "model.toml", "data": "sky", "axes": axes, **changes})


def labels(axes: dict[str, Any], axis: str, **changes: Any) -> list[str]:
    return [member.labels[axis] for member in ensemble(axes, **changes).expansion.members]


@pytest.mark.parametrize(
    ("axis", "table", "expected"),
    [
        ("radius_max", {"low": 10, "high": 20, "count": 3}, ["10", "15", "20"]),
        ("radius_max", {"low": 10, "high": 11, "step": 0.25}, ["10", "10.25", "10.5", "10.75", "11"]),
        ("radius_max", {"low": 5, "high": 20, "log": True, "count": 3}, ["5", "10", "20"]),
        ("radius_max", {"values": [10, 14.5]}, ["10", "14.5"]),
        ("seed", {"low": 3, "high": 6}, ["3", "4", "5", "6"]),
        ("seed", {"low": 0, "high": 9, "count": 3}, ["0", "4", "9"]),
        ("top", {"sets": TOP, "low": 2, "high": 6, "integer": True, "step": 2}, ["2", "4", "6"]),
        ("top", {"sets": TOP, "values": [2, 3.5]}, ["2", "3.5"]),
    ],
)
def test_the_grid_of_a_range(axis: str, table: dict[str, Any], expected: list[str]) -> None:
    assert labels({axis: table}, axis) == expected


def test_a_number_of_the_model_is_set_and_nothing_else() -> None:
    first, last = ensemble({"top": {"sets": TOP, "low": 2.0, "high": 4.0, "count": 2}}).expansion.members
    (base,) = ensemble({}).expansion.members
    assert first.name == "top=2"
    for member, value in ((first, 2.0), (last, 4.0)):
        spec: Any = member.spec
        assert spec["model"]["parameters"]["S_flat"]["high"] == value
        spec["model"]["parameters"]["S_flat"]["high"] = base.spec["model"]["parameters"]["S_flat"]["high"]
        assert spec == base.spec


def test_several_numbers_at_once_entries_of_lists_and_names_of_parameters() -> None:
    discs = {"region.sources": [[10.0, 5.0, 1.0]]}
    paths = ["region.sources.0.2", "components.smooth.norm"]
    axes = {"discs": {"one": discs}, "disc_radius": {"sets": paths, "values": [0.5, 2.0]}}
    small, large = ensemble(axes).expansion.members
    assert [m.spec["model"]["region"]["sources"] for m in (small, large)] == [[[10.0, 5.0, r]] for r in (0.5, 2.0)]
    assert "S_flat" not in large.spec["model"]["parameters"]  # fixed to a number


def test_an_axis_that_exists_only_beside_some_choices_of_another() -> None:
    axes = {
        "inner": {"sets": "parameters.n3.low", "values": [-6, -2], "when": {"breaks": [2]}},
        "breaks": BREAKS,
        "mask": ["spot", "none"],
    }
    members = ensemble(axes).expansion.members
    assert [member.name for member in members] == [
        "mask=spot,breaks=1", "mask=spot,breaks=2,inner=-6", "mask=spot,breaks=2,inner=-2",
        "mask=none,breaks=1", "mask=none,breaks=2,inner=-6", "mask=none,breaks=2,inner=-2",
    ]  # fmt: skip
    assert [member.labels["inner"] for member in members[:3]] == ["base", "-6", "-2"]
    assert members[1].spec["model"]["parameters"]["n3"]["low"] == -6
    assert "n3" not in members[0].spec["model"]["parameters"]
    few = ensemble(axes, combine={"sample": 4}).expansion.members
    assert len(few) == 4
    assert {member.name for member in few} < {member.name for member in members}


def test_conditions_in_a_row() -> None:
    axes = {
        "mask": ["spot", "none"],
        "radius_max": {"values": [10, 12], "when": {"mask": "none"}},
        "seed": {"values": [1, 2], "when": {"radius_max": 12}},
    }
    names = [member.name for member in ensemble(axes).expansion.members]
    assert names == ["mask=spot", "mask=none,radius_max=10", "mask=none,radius_max=12,seed=1",
                     "mask=none,radius_max=12,seed=2"]  # fmt: skip


def test_a_condition_of_choices_by_name() -> None:
    axes = {"mask": ["spot", "none"], "breaks": {**BREAKS, "when": {"mask": ["none"]}}}
    names = [member.name for member in ensemble(axes).expansion.members]
    assert names == ["mask=spot", "mask=none,breaks=1", "mask=none,breaks=2"]


def test_settings_of_the_fit() -> None:
    fit = {"method": "svi", "steps": 50, "guide": "mvn"}
    axes = {
        "fit": ["default", {"name": "diag", "guide": "diagonal"}, "laplace"],
        "particles": {"sets": "fit.particles", "values": [2, 4], "when": {"fit": ["diag"]}},
    }
    members = ensemble(axes, fit=fit, seed=3).expansion.members
    expected = [
        Settings(**fit, seed=3),
        Settings(**{**fit, "guide": "diagonal"}, particles=2, seed=3),
        Settings(**{**fit, "guide": "diagonal"}, particles=4, seed=3),
        Settings(method="laplace", seed=3),
    ]
    assert [member.spec["fit"] for member in members] == [settings.resolved() for settings in expected]
    again = Ensemble(**ensemble(axes, fit=fit, seed=3).manifest()).expansion.members
    assert again == members  # what follows from a setting follows from it again


def test_members_of_a_list_are_numbers_of_the_range() -> None:
    axes = {"top": {"sets": TOP, "low": 2.0, "high": 4.0}}
    (member,) = ensemble(axes, combine="list", members=[{"top": 3.25}]).expansion.members
    assert member.labels == {"top": "3.25"}
    with pytest.raises(InputError, match="axis top: expected a number from 2 to 4, got 5"):
        ensemble(axes, combine="list", members=[{"top": 5}]).plan()


@pytest.mark.parametrize(
    ("numbers", "number", "nearest"),
    [
        (Numbers(1.0, 2.0), 1.234567, 1.2346),
        (Numbers(1.0, 2.0), 1.99999999, 2.0),
        (Numbers(1.0000001, 2.0), 1.0000002, 1.0000001),  # rounded it would be outside
        (Numbers(0.0, 1.0, step=0.1), 0.31, 0.3),
        (Numbers(1, 9, 2.0, integer=True), 4.4, 5),
        (Numbers(1e-6, 1.0, log=True), 1.23456789e-5, 1.2346e-5),
    ],
)
def test_numbers_are_what_their_labels_say(numbers: Numbers, number: float, nearest: float) -> None:
    assert numbers.nearest(number) == nearest


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"radius": {"low": 10, "high": 20}}, r"unknown axis 'radius'; did you mean 'radius_max'\?.*by `sets` which"),
        ({"radius_max": {"low": 10, "high": 20}}, "axis radius_max: a campaign fits a grid of the range 10 to 20: say"),
        ({"radius_max": {"low": 20, "high": 10}}, "axis radius_max: low must be below high, got low=20, high=10"),
        ({"radius_max": {"low": 20, "high": 20}}, "low must be below high"),
        ({"radius_max": {"lo": 10, "high": 20}}, r"axis radius_max: unknown field 'lo'; did you mean 'low'\?"),
        ({"radius_max": {"high": 20}}, "axis radius_max: field 'low' is missing"),
        ({"radius_max": {"low": "a", "high": 20}}, "axis radius_max: field 'low': "),
        ({"radius_max": {"low": 1, "high": 20, "values": [1]}}, "axis radius_max: has `values` and `low`; give"),
        ({"radius_max": {"low": 1, "high": 20, "sets": TOP}}, "axis radius_max: is built in, so it has no `sets`"),
        ({"radius_max": {"low": 0, "high": 20, "log": True}}, "logarithmic range begins above zero, got low=0; raise"),
        ({"radius_max": {"low": 1, "high": 9, "step": 3}}, "steps of 3 from low=1 do not end at high=9"),
        ({"radius_max": {"low": 1, "high": 9, "step": 2, "log": True}}, "a logarithmic range has no `step`"),
        ({"radius_max": {"low": 1, "high": 9, "step": 2, "count": 3}}, "`step` and `count` both say"),
        ({"seed": {"low": 1.5, "high": 9}}, r"axis seed: low: expected a whole number, got 1\.5"),
        ({"top": {"sets": TOP, "low": 1, "high": 9.5, "integer": True}}, r"axis top: high: expected a whole number"),
        ({"mask": {"low": 1, "high": 2}}, "axis mask: takes names, so it has no range"),
        ({"top": {"sets": "parameters.S_flta.high", "values": [2]}},
         r"member 'tiny': axis top: sets 'parameters.S_flta.high': unknown entry of parameters 'S_flta'"),
        ({"top": {"sets": "parameters.S_flat.hihg", "values": [2]}}, r"unknown entry .*'hihg'; did you mean 'high'\?"),
        ({"top": {"sets": "parmeters.S_flat.high", "values": [2]}}, r"unknown section 'parmeters'; did you mean"),
        ({"top": {"sets": "parameters.S_flat", "values": [2]}}, "expected one number there, got a table or list"),
        ({"top": {"sets": "components.smoth.norm", "values": [2]}}, r"unknown entry of comp.* 'smoth'; did you mean"),
        ({"top": {"sets": "fit.stpes", "values": [2]}}, "unknown setting of method emulator 'stpes'"),
        ({"top": {"sets": [], "values": [2]}}, "axis top: `sets` names nothing"),
        ({"top": {"sets": TOP, "values": ["a"]}}, "axis top: values: expected finite numbers, got 'a'"),
        ({"top": {"sets": TOP, "values": [0.1]}}, r"member 'tiny': model: .*S_flat.*low must be below high"),
        ({"fit": ["nust"]}, r"axis fit: unknown method 'nust'; did you mean 'nuts'\?"),
        ({"fit": [{"name": "a", "method": "laplace", "steps": 3}]}, "axis fit: steps is a setting of method svi"),
        ({"fit": [{"name": "a", "seed": 3}]}, "axis fit: 'a': the seed is that of the ensemble"),
        ({"seed": {"values": [1], "when": {"maks": ["none"]}}, "mask": ["none"]},
         r"axis seed: when: unknown axis 'maks'; did you mean 'mask'\?"),
        ({"seed": {"values": [1], "when": {"mask": ["noen"]}}, "mask": ["none"]},
         r"axis seed: when: unknown choice of axis mask 'noen'; did you mean 'none'\?"),
        ({"seed": {"values": [1], "when": {"mask": []}}, "mask": ["none"]}, "axis seed: when: no choice of 'mask'"),
        ({"seed": {"values": [1], "when": {"radius_max": [12]}}, "radius_max": {"low": 10, "high": 20}},
         "axis seed: when: 'radius_max' may be any number of a range"),
        ({"seed": {"values": [1], "when": {"mask": "none"}}, "mask": {"values": ["none"], "when": {"seed": 1}}},
         "axes: conditions go round in a circle: mask -> seed -> mask; remove one `when`"),
        ({"mine": {"a": {}, "when": 3}}, "axis mine: when: expected a table of axes and their choices, got 3"),
    ],
)  # fmt: skip
def test_bad_axes_are_one_line(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        ensemble(axes).plan()
    assert "\n" not in str(found.value)


def test_a_condition_is_no_choice() -> None:
    axes = {"mask": ["none", "spot"], "mine": {"a": {}, "b": {}, "when": {"mask": "spot"}}}
    assert "mine (a, b)>" in repr(ensemble(axes))


def test_whole_numbers_of_many_digits_are_told_apart() -> None:
    assert labels({"top": {"sets": TOP, "values": [1_000_000, 1_000_001]}}, "top") == ["1000000", "1000001"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_none_are_one_line(number: float) -> None:
    with pytest.raises(InputError, match="axis top: values: expected finite numbers, got "):
        labels({"top": {"sets": TOP, "values": [number]}}, "top")
    with pytest.raises(InputError, match="axis seed: expected a whole number from 0 to 9, got "):
        labels({"seed": {"low": 0, "high": 9}}, "seed", combine="list", members=[{"seed": number}])
    overrides = [{"when": {"seed": number}, "cpus": 2}]
    with pytest.raises(InputError, match="resources: when: unknown choice of axis seed '"):
        labels({"seed": [0, 1]}, "seed", resources={"overrides": overrides})


def test_a_sample_of_more_members_than_can_be_counted_is_refused() -> None:
    axes = {f"a{number}": {"sets": TOP, "low": 2.5, "high": 6.0, "count": 1000} for number in range(7)}
    with pytest.raises(InputError, match=r"^ensemble: a sample is drawn of at most 2\^63 members; the axes have more"):
        labels(axes, "a0", combine={"sample": 3})


def test_resources_by_choice() -> None:
    overrides = [{"when": {"fit": ["laplace"]}, "cpus": 2}, {"when": {"fit": "laplace", "seed": 1}, "memory_gb": 3}]
    made = ensemble({"fit": ["default", "laplace"], "seed": [0, 1]}, resources={"hours": 2, "overrides": overrides})
    expected = [None, None, Resources(cpus=2, hours=2), Resources(cpus=2, memory_gb=3, hours=2)]
    assert [member.resources for member in made.expansion.members] == expected
    assert made.resources == Resources(hours=2)
    again = Ensemble(**json.loads(json.dumps(made.manifest())))
    assert again.expansion.members == made.expansion.members
    table = plan_table(made.expansion)
    (column,) = (column for column in table.columns if column.header == "on")
    assert list(column.cells) == ["1 CPU", "1 CPU", "2 CPUs", "2 CPUs, 3 GB"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([{"when": {"fitt": ["laplace"]}, "cpus": 2}], r"resources: when: unknown axis 'fitt'; did you mean 'fit'"),
        (
            [{"when": {"fit": ["lapalce"]}, "cpus": 2}],
            r"unknown choice of axis fit 'lapalce'; did you mean 'lap",
        ),
        (
            [{"when": {"fit": ["laplace"]}, "cpu": 2}],
            r"resources: override 1: unknown field 'cpu'; did you mean 'cpus'",
        ),
        ([{"cpus": 2}], "resources: override 1: field 'when' is missing"),
        ([{"when": {}, "cpus": 2}], "resources: override 1: field 'when': "),
        ([{"when": {"fit": ["laplace"]}, "cpus": 0}], "override 1: cpus: expected a whole number of at least 1, got 0"),
        ([{"when": {"fit": ["laplace"]}, "gpus": 2}], "override 1: gpus: a fit runs on one GPU"),
        ({"when": {}}, r"resources: overrides: expected a list of tables, \[\[resources.overrides\]\], got"),
        ([3], "resources: override 1: expected a table, got 3"),
    ],
)
def test_bad_overrides_are_one_line(overrides: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        ensemble({"fit": ["default", "laplace"]}, resources={"overrides": overrides}).plan()
    assert "\n" not in str(found.value)
