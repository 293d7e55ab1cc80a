"""Models as files: what is accepted, and one line with the field and the remedy for everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table, presets, read_model
from gammasky.engine.model.parameters import parameter_labels

UNIFORM = {"prior": "uniform", "low": 0.0, "high": 1.0}


def table() -> dict[str, Any]:
    return {
        "name": "test",
        "parameters": {"S": dict(UNIFORM), "Sps": dict(UNIFORM), "n": dict(UNIFORM), "sb": dict(UNIFORM, low=0.5)},
        "components": [
            {"name": "iso", "norm": "S", "template": "iso"},
            {
                "name": "ps",
                "norm": "Sps",
                "template": "iso",
                "source_counts": {"slopes": [3.0, "n"], "breaks": ["sb"]},
            },
        ],
    }


def refused(changed: dict[str, Any]) -> str:
    """The message for a table that must be refused when it is read or used."""
    with pytest.raises(InputError, match=r".") as caught:
        parameter_labels(model_from_table(changed, "model.toml"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_table_itself_is_fine() -> None:
    assert parameter_labels(model_from_table(table())) == {"S": (), "Sps": (), "n": (), "sb": ()}


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (
            {"prior": "unifrom", "low": 0, "high": 1},
            ["parameters.S", "unknown prior 'unifrom'", "did you mean 'uniform'"],
        ),
        ({"low": 0, "high": 1}, ["parameters.S", "'prior' is missing", "loguniform"]),
        ({"prior": "uniform", "low": 14.0, "high": 1e-3}, ["parameters.S", "low must be below high", "14", "0.001"]),
        ({"prior": "uniform", "low": 1.0, "high": 1.0}, ["low must be below high"]),
        ({"prior": "uniform", "low": float("nan"), "high": 1.0}, ["parameters.S", "low", "finite"]),
        ({"prior": "uniform", "low": 0.0, "high": float("inf")}, ["parameters.S", "high", "finite"]),
        ({"prior": "loguniform", "low": 0.0, "high": 1.0}, ["parameters.S", "low", "greater than 0"]),
        ({"prior": "loguniform", "low": 2.0, "high": 1.0}, ["low must be below high"]),
        ({"prior": "normal", "mean": 0.0, "sd": 0.0}, ["parameters.S", "sd", "greater than 0"]),
        ({"prior": "halfnormal", "sd": -1.0}, ["parameters.S", "sd", "greater than 0"]),
        ({"prior": "uniform", "low": 0.0}, ["parameters.S", "high", "missing"]),
        ({"prior": "uniform", "low": 0.0, "high": 1.0, "hihg": 2}, ["unknown field", "hihg"]),
        ({"prior": "dirichlet"}, ["component 'iso'", "'S'", "dirichlet"]),
        ("uniform", ["parameters.S"]),
    ],
)
def test_priors_that_are_refused(prior: Any, expected: list[str]) -> None:
    changed = table()
    changed["parameters"]["S"] = prior
    message = refused(changed)
    assert message.startswith(("model.toml: ", "component "))
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t["components"][0].update(nrom="S"), ["components.iso", "nrom", "did you mean 'norm'"]),
        (lambda t: t.update(parametres={}), ["unknown field 'parametres'", "did you mean 'parameters'"]),
        (lambda t: t.pop("components"), ["'components' is missing"]),
        (lambda t: t.update(components=[]), ["components"]),
        (lambda t: t["components"][1].update(amplitude="S"), ["'ps' needs either norm or amplitude"]),
        (lambda t: t["components"][1].pop("norm"), ["'ps' needs either norm or amplitude"]),
        (
            lambda t: (t["components"][0].pop("norm"), t["components"][0].update(amplitude="S")),
            ["'iso'", "amplitude is for point sources", "use norm"],
        ),
        (lambda t: t["components"][0].update(name="ps"), ["component names must differ", "ps"]),
        (lambda t: t["components"][0].update(norm="Sp"), ["component 'iso'", "unknown parameter 'Sp'", "'Sps'"]),
        (lambda t: t["components"][0].update(norm=1.0), ["parameter 'S' is not used", "remove it"]),
        (lambda t: t["components"][0].update(norm=float("nan")), ["components.iso.norm"]),
        (lambda t: t["components"][0].update(exposure="never"), ["components.iso.exposure", "auto"]),
        (
            lambda t: t["components"][0].update(template={"maps": "iso"}),
            ["components.iso.template", "map, mix, nfw, disk"],
        ),
        (lambda t: t["components"][0].update(template=3.0), ["components.iso.template"]),
        (
            lambda t: t["components"][0].update(template={"map": "iso", "hemisphere": "west"}),
            ["components.iso.template", "hemisphere", "north"],
        ),
        (lambda t: t.update(source_grid={"min": 10.0, "max": 1.0}), ["source_grid", "min must be below max"]),
        (lambda t: t.update(source_grid={"min": 0.0}), ["source_grid.min", "greater than 0"]),
        (lambda t: t.update(region={"radius_maxx": 3}), ["region", "radius_maxx", "did you mean 'radius_max'"]),
    ],
)
def test_structures_that_are_refused(change: Callable[[dict[str, Any]], Any], expected: list[str]) -> None:
    changed = table()
    change(changed)
    message = refused(changed)
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"slopes": [3.0], "breaks": ["sb"]}, ["1 breaks need 2 slopes, got 1"]),
        ({"slopes": [3.0], "breaks": []}, ["breaks"]),
        ({"slopes": [3.0, "n", 1.0], "breaks": [2.0, 5.0]}, ["fall from the highest to the lowest", "[2.0, 5.0]"]),
        ({"slopes": [3.0, "n"], "breaks": [-1.0]}, ["breaks must be positive", "-1"]),
        ({"slopes": [3.0, "n", 1.0], "breaks": ["sb", 1.5], "relative": True}, ["must be below 1"]),
        (
            {"slopes": [3.0, "n", 1.0], "breaks": ["sb", 0.7]},
            ["component 'ps'", "breaks out of order", "0.7", "'sb' = 0.5"],
        ),
        ({"slopes": [3.0, "sb", 1.0], "breaks": [5.0, "n"]}, ["'n' must be positive", "starts at 0"]),
    ],
)
def test_source_counts_that_are_refused(counts: dict[str, Any], expected: list[str]) -> None:
    changed = table()
    changed["components"][1]["source_counts"] = counts
    message = refused(changed)
    for part in expected:
        assert part in message


def test_a_relative_break_that_may_pass_one_is_refused() -> None:
    changed = table()
    changed["parameters"]["n"]["high"] = 1.2
    changed["parameters"]["n"]["low"] = 0.1
    changed["components"][1]["source_counts"] = {"slopes": [3.0, 1.0, 0.0], "breaks": ["sb", "n"], "relative": True}
    assert "relative break 'n' must stay below 1, its prior ends at 1.2" in refused(changed)


@pytest.mark.parametrize(
    ("mix", "fractions", "prior", "expected"),
    [
        (["a", "b", "c"], [0.5, 0.5], UNIFORM, "a mix of 3 templates needs as many fractions"),
        (["a", "b", "c"], 0.5, UNIFORM, "share of the first of TWO templates"),
        (["a", "b", "c"], "S", UNIFORM, "fractions 'S' of 3 templates need a dirichlet prior"),
        (["a", "b"], "S", {"prior": "uniform", "low": 0.0, "high": 1.5}, "a share must lie in 0 to 1, got 0 to 1.5"),
        (
            ["a", "b"],
            "S",
            {"prior": "dirichlet", "concentration": [1.0, 1.0, 1.0]},
            "expected 2 concentrations for a, b",
        ),
        (["a", "b"], "S", {"prior": "dirichlet", "concentration": [1.0, -1.0]}, "concentration must be positive"),
    ],
)
def test_mixtures_that_are_refused(mix: list[str], fractions: Any, prior: dict[str, Any], expected: str) -> None:
    changed = table()
    changed["parameters"]["S"] = dict(prior)
    changed["components"][0].update(norm=1.0, template={"mix": mix, "fractions": fractions})
    assert expected in refused(changed)


def test_a_parameter_of_two_sizes_is_refused() -> None:
    changed = table()
    changed["parameters"]["S"] = {"prior": "dirichlet"}
    changed["components"][0].update(norm=1.0, template={"mix": ["a", "b"], "fractions": "S"})
    changed["components"].append({"name": "other", "norm": 1.0, "template": {"mix": ["a", "b", "c"], "fractions": "S"}})
    assert "'S' is used with elements ['a', 'b', 'c'] here and ['a', 'b'] elsewhere" in refused(changed)


def test_a_parameter_may_be_shared_and_labels_follow_the_templates() -> None:
    changed = table()
    changed["parameters"] |= {"mix": {"prior": "dirichlet"}, "Alm": dict(UNIFORM)}
    changed["components"][0] |= {
        "norm": "Sps",
        "template": {
            "mix": ["a", {"nfw": {"gamma": "S"}}, {"nfw": {"gamma": 1.0}}],
            "fractions": "mix",
            "modulation": {"l_max": 1, "coefficients": "Alm"},
        },
    }
    labels = parameter_labels(model_from_table(changed))
    assert labels["Sps"] == ()
    assert labels["mix"] == ("0:a", "1:nfw", "2:nfw")
    assert labels["Alm"] == ("1,0", "1,1")


def test_unknown_template_and_empty_template(build: Callable[..., SkyModel]) -> None:
    changed = table() | {"region": {"radius_max": 25.0}}
    for component in changed["components"]:
        component["template"] = "flat"
    changed["components"][0]["template"] = "flta"
    with pytest.raises(InputError, match=r"unknown template 'flta'; did you mean 'flat'\?"):
        build(changed)
    changed["components"][0]["template"] = "empty"
    with pytest.raises(InputError, match="template 'empty' is zero everywhere in the region of interest; leave it out"):
        build(changed)
    changed["components"][0]["template"] = "flat"
    with pytest.raises(InputError, match="unknown backend 'nubma'; did you mean 'numba'"):
        build(changed, backend="nubma")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'fidutial'; did you mean 'fiducial'"):
        read_model("fidutial")
    with pytest.raises(InputError, match=r"absent\.toml: no such model file"):
        read_model(tmp_path / "absent.toml")
    damaged = tmp_path / "damaged.toml"
    damaged.write_text("name = ", encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged\.toml: not a TOML file"):
        read_model(damaged)
    damaged.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"damaged\.toml: not a TOML file"):
        read_model(damaged)
    damaged.write_text('name = "x"\n[parameters]\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged\.toml: field 'components' is missing"):
        read_model(damaged)


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_are_valid_and_say_where_they_come_from(name: str) -> None:
    spec = read_model(name)
    assert spec.name == name
    assert spec.reference.startswith("arXiv:")
    assert spec.description
    assert set(parameter_labels(spec, np.geomspace(1.0, 16.0, 5))) == set(spec.parameters)
