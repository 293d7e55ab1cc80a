"""The shape of the excess as an axis: NFW squared, stellar bulge, or both.

Choices: `nfw` (slope fixed at 1.2, the usual choice for dark matter), `nfw_free_slope`, `bulge` (the mixture of bulge
maps alone), `hybrid` (a share of bulge, the rest NFW squared with free slope), or the name of one map.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from gammasky.analyses.ensemble.tables import EXCESS, Roles, Table, dressed, excess_components, roles, uniform
from gammasky.engine.errors import InputError
from gammasky.engine.model.expressions import is_name

FIXED_SLOPE = 1.2
BULGE_MAPS = ("macias2019", "coleman2019", "f98")  # of a bulge, where the base model has none
SHAPES = ("nfw", "nfw_free_slope", "bulge", "hybrid")
_SLOPE = uniform(0.2, 2.0)  # priors of arXiv:2604.08648, for parameters that the base model lacks
_SHARE = uniform(0.0, 1.0)
_MIXTURE = {"prior": "dirichlet"}


def with_morphology(table: Table, shape: str) -> Table:
    """The model with the excess, smooth and point sources alike, in that shape.

    Parameters keep the names that the base model gives them; where it has none they are `gamma_<component>`,
    `f_bulge_<component>` and `theta_bulge_<component>`, with the priors of arXiv:2604.08648.

    Raises:
        InputError: a model without components of the group `gce`.
    """
    table = deepcopy(table)
    components = excess_components(table)
    if not components:
        raise InputError(f"axis morphology: the model '{table['name']}' has no component of the group '{EXCESS}'")
    for component in components:
        old = component["template"]
        new = _template(shape, roles(old), component["name"], table["parameters"], _spheroid(old))
        component["template"] = dressed(new, old)
    return table


def _spheroid(template: Any) -> Table:
    """What the NFW profile of a template has beside its slope: scale radius, axis ratio and the like."""
    if not isinstance(template, dict):
        return {}
    if "nfw" in template:
        return {name: value for name, value in template["nfw"].items() if name != "gamma"}
    return next((found for member in template.get("mix", []) if (found := _spheroid(member))), {})


def _template(shape: str, found: Roles, component: str, parameters: Table, spheroid: Table) -> Any:
    """The template of one component; parameters that it needs and the model lacks are added."""

    def named(name: str | None, stem: str, prior: Table) -> str:
        chosen = name or f"{stem}_{component}"
        if is_name(chosen):  # an expression is made of parameters that the model has
            parameters.setdefault(chosen, dict(prior))
        return chosen

    if shape == "nfw":
        return {"nfw": {"gamma": FIXED_SLOPE, **spheroid}}
    if shape not in SHAPES:
        return shape
    nfw = {"nfw": {"gamma": named(found.gamma, "gamma", _SLOPE), **spheroid}} if shape != "bulge" else None
    if shape == "nfw_free_slope":
        return nfw
    maps = found.maps if len(found.maps) > 1 else BULGE_MAPS
    bulge = {"mix": list(maps), "fractions": named(found.theta_bulge, "theta_bulge", _MIXTURE)}
    if shape == "bulge":
        return bulge
    return {"mix": [bulge, nfw], "fractions": named(found.f_bulge, "f_bulge", _SHARE)}
