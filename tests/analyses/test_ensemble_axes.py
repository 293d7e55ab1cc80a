"""The axes of an ensemble: what each choice does to the fiducial model, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.ensemble.axes import BUILT_IN, Known, Plan, ordered, own_choice, read_choice
from gammasky.analyses.ensemble.fixed import fixed
from gammasky.analyses.ensemble.morphology import with_morphology
from gammasky.analyses.ensemble.patch import patched
from gammasky.analyses.ensemble.quantities import _shape
from gammasky.analyses.ensemble.tables import Roles, map_names, roles
from gammasky.engine.errors import InputError
from gammasky.engine.model import ModelSpec, model_from_table, read_model
from gammasky.engine.model.parameters import parameter_labels

KNOWN = Known(
    masks=["3fgl_0p8deg", "4fgl_95pct"],
    maps=["Opi", "Api", "Fpi", "Oic", "Aic", "Fic", "p6v11", "f98", "macias2019", "coleman2019", "nfw_g1p2"],
    parameters=list(read_model("fiducial").parameters),
)
BULGE = ["macias2019", "coleman2019", "f98"]


def chosen(*choices: tuple[str, Any], model: str = "fiducial") -> ModelSpec:
    """The model after these choices, without the parameters that nothing uses."""
    plan = Plan(read_model(model).model_dump(mode="json"), 0, "fermi")
    for axis, value in choices:
        plan = read_choice(axis, value, KNOWN).change(plan)
    spec = model_from_table(plan.model)
    used = {use.parameter for component in spec.components for use in component.uses()}
    table = {**plan.model, "parameters": {n: p for n, p in plan.model["parameters"].items() if n in used}}
    spec = model_from_table(table)
    parameter_labels(spec)  # every parameter declared and of the right size
    return spec


def component(spec: ModelSpec, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in spec.components if c.name == name).model_dump(mode="json")
    return found


def missing(spec: ModelSpec) -> set[str]:
    """Parameters of the fiducial model that this one does not have."""
    return set(KNOWN.parameters) - set(spec.parameters)


@pytest.mark.parametrize(
    ("axis", "value", "label", "region"),
    [
        ("mask", "4fgl_95pct", "4fgl_95pct", {"mask": "4fgl_95pct"}),
        ("mask", "none", "none", {"mask": None}),
        ("mask", ["3fgl_0p8deg", "4fgl_95pct"], "3fgl_0p8deg+4fgl_95pct", {"mask": ("3fgl_0p8deg", "4fgl_95pct")}),
        ("radius_max", 15, "15", {"radius_max": 15.0}),
        ("latitude_min", 1.5, "1.5", {"latitude_min": 1.5}),
        ("hemisphere", "south", "south", {"hemisphere": "south"}),
    ],
)
def test_region(axis: str, value: Any, label: str, region: dict[str, Any]) -> None:
    assert read_choice(axis, value, KNOWN).label == label
    spec, base = chosen((axis, value)), read_model("fiducial")
    assert spec.region == base.region.model_copy(update=region)
    assert spec.components == base.components


BULGE_PARAMETERS = {"f_bulge_poiss", "f_bulge_ps", "theta_bulge_poiss", "theta_bulge_ps"}
SLOPES = {"gamma_poiss", "gamma_ps"}


@pytest.mark.parametrize(
    ("shape", "gone"),
    [
        ("nfw", BULGE_PARAMETERS | SLOPES),
        ("nfw_free_slope", BULGE_PARAMETERS),
        ("bulge", {"f_bulge_poiss", "f_bulge_ps"} | SLOPES),
        ("f98", BULGE_PARAMETERS | SLOPES),
    ],
)
def test_a_shape_keeps_the_names_of_the_model(shape: str, gone: set[str]) -> None:
    spec = chosen(("morphology", shape))
    assert missing(spec) == gone
    smooth, points = (component(spec, name)["template"] for name in ("gce", "gce_ps"))
    if shape == "nfw":
        assert smooth["nfw"]["gamma"] == points["nfw"]["gamma"] == 1.2
    elif shape == "nfw_free_slope":
        assert points["nfw"]["gamma"] == "gamma_ps"
    elif shape == "bulge":
        assert (smooth["mix"], smooth["fractions"]) == (BULGE, "theta_bulge_poiss")
    else:
        assert smooth == points == "f98"
    assert component(spec, "gce")["exposure"] == "as_is"  # all else is as it was
    assert component(spec, "dsk_ps") == component(read_model("fiducial"), "dsk_ps")


def test_hybrid_is_the_fiducial_model() -> None:
    assert chosen(("morphology", "hybrid")) == read_model("fiducial")


def test_hybrid_of_a_model_without_bulge_gets_parameters_of_its_own() -> None:
    spec = chosen(("morphology", "hybrid"), model="gce_flows")
    new = set(spec.parameters) - set(read_model("gce_flows").parameters)
    assert new == {f"{stem}_{name}" for stem in ("f_bulge", "theta_bulge", "gamma") for name in ("gce", "gce_ps")}
    outer = component(spec, "gce_ps")["template"]
    assert outer["fractions"] == "f_bulge_gce_ps"
    assert outer["mix"][0]["mix"] == BULGE


@pytest.mark.parametrize(("choice", "maps"), [("O", ("Opi", "Oic")), ("A", ("Api", "Aic")), ("F", ("Fpi", "Fic"))])
def test_one_diffuse_model(choice: str, maps: tuple[str, str]) -> None:
    spec = chosen(("diffuse", choice))
    assert missing(spec) == {"theta_pib", "theta_ics"}
    template = component(spec, "pib")["template"]
    assert template["map"] == maps[0]
    assert template["modulation"] == {"l_max": 2, "coefficients": "Alm"}
    assert component(spec, "ics")["template"] == maps[1]


def test_diffuse_mixture() -> None:
    assert chosen(("diffuse", "mixture")) == read_model("fiducial")
    spec = chosen(("diffuse", "mixture"), model="gce_flows")
    assert {"theta_pib", "theta_ics"} <= set(spec.parameters)
    assert component(spec, "ics")["template"]["mix"] == ["Oic", "Aic", "Fic"]


def test_p6v11_is_one_component() -> None:
    spec = chosen(("diffuse", "p6v11"))
    assert [c.name for c in spec.components][:2] == ["dif", "iso"]
    assert missing(spec) == {"theta_pib", "theta_ics", "S_pib", "S_ics"}
    assert spec.parameters["S_dif"].support() == (2e-3, 28.0)
    assert component(spec, "dif")["template"]["modulation"]["coefficients"] == "Alm"


@pytest.mark.parametrize("diffuse", ["mixture", "O", "p6v11"])
@pytest.mark.parametrize("l_max", [0, 1, 3])
def test_l_max(l_max: int, diffuse: str) -> None:
    spec = chosen(("diffuse", diffuse), ("l_max", l_max))
    n_coefficients = {0: 0, 1: 2, 3: 9}[l_max]
    assert len(parameter_labels(spec).get("Alm", ())) == n_coefficients
    assert ("Alm" in spec.parameters) == (l_max > 0)


def test_l_max_of_a_model_without_modulation() -> None:
    spec = chosen(("l_max", 1), model="gce_flows")
    assert parameter_labels(spec)["Alm"] == ("1,0", "1,1")
    assert component(spec, "pib")["template"]["map"] == "Opi"


def test_priors() -> None:
    wide = {"name": "wide", "sb1_gce": {"prior": "uniform", "low": 1.0, "high": 90.0}}
    choice = read_choice("priors", wide, KNOWN)
    assert choice.label == "wide"
    assert chosen(("priors", wide)).parameters["sb1_gce"].support() == (1.0, 90.0)
    assert chosen(("priors", "default")) == read_model("fiducial")
    slope = {"name": "slope", "gamma_ps": {"prior": "uniform", "low": 0.5, "high": 1.5}}
    assert "gamma_ps" not in chosen(("morphology", "bulge"), ("priors", slope)).parameters  # no longer there: left out


def test_seed_and_sky_leave_the_model_alone() -> None:
    plan = Plan({}, 0, "fermi")
    assert read_choice("seed", 3, KNOWN).change(plan) == Plan({}, 3, "fermi")
    assert read_choice("sky", {"name": "sim0", "data": "skies/sky_0000.toml"}, KNOWN).change(plan).sky == "sim0"


def test_no_choice_changes_what_it_was_given() -> None:
    values = {
        "mask": "none", "radius_max": 10, "latitude_min": 1, "hemisphere": "north", "morphology": "nfw", "diffuse": "A",
        "l_max": 0, "fit": {"name": "nuts", "method": "nuts"}, "sky": "fermi", "seed": 1,
        "priors": {"name": "new", "C": {"prior": "uniform", "low": 1.0, "high": 2.0}},
    }  # fmt: skip
    assert set(values) == set(BUILT_IN)
    base = read_model("fiducial").model_dump(mode="json")
    for axis, value in values.items():
        read_choice(axis, value, KNOWN).change(Plan(base, 0, "fermi"))
    assert base == read_model("fiducial").model_dump(mode="json")


def test_order() -> None:
    names = ["seed", "mine", "l_max", "priors", "diffuse", "mask"]
    assert ordered(names) == ["mask", "diffuse", "l_max", "mine", "priors", "seed"]


@pytest.mark.parametrize(
    ("axis", "value", "message"),
    [
        ("maks", "none", r"unknown axis 'maks'; did you mean 'mask'\?.*table of named choices"),
        ("mask", "4fgl_95pc", r"axis mask: unknown mask '4fgl_95pc'; did you mean '4fgl_95pct'\?"),
        ("mask", 3, "axis mask: unknown mask '3'"),
        ("radius_max", "wide", r"axis radius_max: expected a number \[deg\], got 'wide'"),
        ("latitude_min", True, "axis latitude_min: expected a number"),
        ("latitude_min", float("nan"), r"axis latitude_min: expected a number \[deg\], got nan"),
        ("radius_max", 10**400, r"axis radius_max: expected a number \[deg\], got 1000"),
        ("mask", [], "axis mask: expected a mask, a list of masks, or 'none', got an empty list"),
        ("hemisphere", "nort", r"axis hemisphere: unknown hemisphere 'nort'; did you mean 'north'\?"),
        ("morphology", "hybird", r"axis morphology: unknown morphology 'hybird'; did you mean 'hybrid'\?"),
        ("diffuse", "p6v12", r"axis diffuse: unknown diffuse model 'p6v12'; did you mean 'p6v11'\?"),
        ("l_max", 2.0, r"axis l_max: expected a whole number from 0 to 16, got 2\.0"),
        ("l_max", -1, "axis l_max: expected a whole number"),
        ("seed", -1, "axis seed: expected a whole number"),
        ("priors", {"sb1_gce": {}}, "axis priors: expected 'default' or a table with a name"),
        ("priors", {"name": "a", "sb_gce": {}}, r"axis priors: unknown parameter 'sb_gce'; did you mean 'sb1_gce'\?"),
        ("priors", {"name": "a=b"}, "axis priors: name 'a=b': expected letters, digits"),
        ("sky", {"name": "a", "dta": "b"}, "axis sky: expected a dataset or a table with name and data"),
        ("sky", {"name": "a"}, "axis sky: expected a dataset or a table with name and data"),
        ("sky", {"name": "a", "data": 5}, "axis sky: expected a dataset or a table with name and data"),
    ],
)
def test_refused(axis: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        read_choice(axis, value, KNOWN)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("axis", "value", "model", "message"),
    [
        ("morphology", "nfw", "smooth", "model 'smooth' has no component of the group 'gce'"),
        ("diffuse", "O", "nptfit_galactic_centre", "expected one component of gas .* in the model 'nptfit.*', got 0"),
        ("l_max", 1, "smooth", "axis l_max: expected one component of .* in the model 'smooth', got 0"),
    ],
)
def test_models_that_an_axis_cannot_change(axis: str, value: Any, model: str, message: str) -> None:
    smooth = {"name": "smooth", "parameters": {}, "components": [{"name": "iso", "norm": 1.0, "template": "iso"}]}
    table = smooth if model == "smooth" else read_model(model).model_dump(mode="json")
    with pytest.raises(InputError, match=message):
        read_choice(axis, value, KNOWN).change(Plan(table, 0, "fermi"))


def test_p6v11_needs_limits_to_add_up() -> None:
    table = read_model("fiducial").model_dump(mode="json")
    table["parameters"]["S_ics"] = {"prior": "normal", "mean": 5.0, "sd": 1.0}
    with pytest.raises(InputError, match="'p6v11' needs uniform priors of the norms of 'pib' and 'ics'"):
        read_choice("diffuse", "p6v11", KNOWN).change(Plan(table, 0, "fermi"))


def test_roles() -> None:
    template = component(read_model("fiducial"), "gce")["template"]
    assert roles(template) == Roles("f_bulge_poiss", "theta_bulge_poiss", "gamma_poiss", tuple(BULGE))
    assert roles("f98") == Roles(maps=("f98",))
    assert roles({"nfw": {"gamma": 1.2}}) == Roles()
    assert list(map_names(template)) == BULGE


def test_changes_of_ones_own() -> None:
    base = read_model("fiducial").model_dump(mode="json")
    changes = {
        "components.psc.template": "psc_4fgl",
        "region": {"mask": "4fgl_95pct"},
        "region.radius_max": 20.0,
        "parameters": {"S_new": {"prior": "uniform", "low": 0.0, "high": 1.0}},
        "components": {"extra": {"norm": "S_new", "template": "bub_alt"}},
        "remove": ["bub"],
    }
    spec = model_from_table(own_choice("mine", "all", changes).change(Plan(base, 0, "fermi")).model | {"name": "new"})
    assert (spec.region.mask, spec.region.radius_max) == ("4fgl_95pct", 20.0)
    assert component(spec, "psc") == component(read_model("fiducial"), "psc") | {"template": "psc_4fgl"}
    assert [c.name for c in spec.components][-1] == "extra"
    assert "bub" not in [c.name for c in spec.components]


def test_changes_of_one_component_by_paths_and_by_a_table_are_put_together() -> None:
    changes = {"components.psc.template": "psc_4fgl", "components": {"psc": {"norm": 2.0}}}
    base = read_model("fiducial").model_dump(mode="json")
    for given in (changes, fixed(changes), dict(reversed(fixed(changes).items()))):
        spec = model_from_table(own_choice("mine", "all", given).change(Plan(base, 0, "fermi")).model)
        assert component(spec, "psc") == component(read_model("fiducial"), "psc") | {
            "template": "psc_4fgl",
            "norm": 2.0,
        }
    assert changes["components"] == {"psc": {"norm": 2.0}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regoin": {}}, r"here: unknown section of a model 'regoin'; did you mean 'region'\?"),
        ({"region": 3}, "here: field 'region': expected a table, got 3"),
        ({"components.psk": {"norm": 1.0}}, r"here: unknown component 'psk'; did you mean 'psc'\?"),
        ({"components": {"psc": 3}}, r"here: field 'components\.psc': expected a table, got 3"),
        ({"remove": ["bubbles"]}, r"here: unknown component 'bubbles'; did you mean 'bub'\?"),
        ({"remove": "bub"}, "here: field 'remove': expected a list of components, got 'bub'"),
        ({"region": 3, "region.mask": "x"}, r"here: 'region\.mask' is inside something that is given as a whole"),
    ],
)
def test_changes_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        patched(read_model("fiducial").model_dump(mode="json"), changes, "here")
    with pytest.raises(InputError, match="axis mine, choice a: expected a table of changes of the model, got 3"):
        own_choice("mine", "a", 3)


def test_the_shipped_campaign_has_36_members(fermi_dir: Path) -> None:
    """The other files that are shipped are sweeps."""
    from gammasky.analyses.ensemble.ensemble import Ensemble
    from gammasky.analyses.ensemble.file import shipped

    assert [name for name in shipped() if not name.startswith("sweep_")] == ["mask_morphology_diffuse"]
    ensemble = Ensemble(**{**Ensemble.read("mask_morphology_diffuse").manifest(), "data_dir": str(fermi_dir)})
    members = ensemble.expansion.members
    assert len(members) == 36
    assert len({member.name for member in members}) == 36


def test_a_share_that_is_an_expression_stays_one() -> None:
    """Its parameters are the model's: none of the name of the expression is added, and its draws are its values."""
    table = read_model("fiducial").model_dump(mode="json", exclude_none=True)
    smooth, sources = (c for c in table["components"] if c.get("group") == "gce")
    sources["template"]["fractions"] = "1 - f_bulge_poiss"
    sources["template"]["mix"][1]["nfw"] |= {"gamma": "gamma_poiss / 2", "axis_ratio": 0.8}
    del table["parameters"]["f_bulge_ps"], table["parameters"]["gamma_ps"]
    changed = with_morphology(table, "hybrid")
    assert changed["parameters"] == table["parameters"]
    spec = model_from_table(changed)
    assert spec == model_from_table(table)
    draws = {"f_bulge_poiss": np.array([0.2, 0.7]), "gamma_poiss": np.array([1.0, 1.6])}
    found = _shape(next(c for c in spec.components if c.name == sources["name"]), draws)
    np.testing.assert_allclose(found["f_bulge_ps"], [0.8, 0.3])
    np.testing.assert_allclose(found["gamma_ps"], [0.5, 0.8])
    assert smooth["template"]["fractions"] == "f_bulge_poiss"
