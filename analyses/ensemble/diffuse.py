"""Diffuse emission as an axis: one of the Models O, A, F, their mixture, or p6v11; and how far it is modulated."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from gammasky.analyses.ensemble.tables import Table, dressed, map_names, uniform
from gammasky.engine.errors import InputError

GAS = {"O": "Opi", "A": "Api", "F": "Fpi"}  # pion decay and bremsstrahlung
INVERSE_COMPTON = {"O": "Oic", "A": "Aic", "F": "Fic"}
P6V11 = "p6v11"  # both in one map
DIFFUSE = (*GAS, "mixture", P6V11)
_COEFFICIENTS = ("Alm", uniform(-0.05, 0.05))  # as in arXiv:2604.08648, where the base model has none


def with_diffuse(table: Table, choice: str) -> Table:
    """The model with other diffuse maps; the modulation of the gas stays, and goes over to p6v11.

    p6v11 is one component `dif` in place of gas and inverse Compton; the prior of its norm `S_dif` is uniform
    between the sums of the limits of theirs.

    Raises:
        InputError: a model without the components that are to be changed.
    """
    table = deepcopy(table)
    gas, compton = _component(table, GAS, "gas"), _component(table, INVERSE_COMPTON, "inverse Compton")
    if choice == P6V11:
        return _merged(table, gas, compton)
    for component, maps in ((gas, GAS), (compton, INVERSE_COMPTON)):
        new = _mixture(component, maps, table["parameters"]) if choice == "mixture" else maps[choice]
        component["template"] = dressed(new, component["template"])
    return table


def _component(table: Table, maps: dict[str, str], what: str) -> Table:
    """The one component that is made of any of these maps."""
    found = [c for c in table["components"] if set(map_names(c["template"])) & set(maps.values())]
    return _only(found, "diffuse", f"{what} ({', '.join(maps.values())})", table)


def _only(found: list[Table], axis: str, what: str, table: Table) -> Table:
    """The component that an axis changes, of those that it could."""
    if len(found) != 1:
        name = table["name"]
        raise InputError(f"axis {axis}: expected one component of {what} in the model '{name}', got {len(found)}")
    return found[0]


def _mixture(component: Table, maps: dict[str, str], parameters: Table) -> Table:
    """All three maps, mixed by the parameter that the component has for that, or a new one."""
    old = component["template"]
    known = old.get("fractions") if isinstance(old, dict) else None
    name = known if isinstance(known, str) else f"theta_{component['name']}"
    parameters.setdefault(name, {"prior": "dirichlet"})
    return {"mix": list(maps.values()), "fractions": name}


def _merged(table: Table, gas: Table, compton: Table) -> Table:
    """Gas and inverse Compton as one component."""
    name, norm = "dif", "S_dif"
    priors = [table["parameters"].get(component["norm"]) for component in (gas, compton)]
    if any(prior is None or prior["prior"] != "uniform" for prior in priors):
        raise InputError(
            f"axis diffuse: '{P6V11}' needs uniform priors of the norms of '{gas['name']}' and '{compton['name']}', "
            "whose limits it adds up; change the base model"
        )
    low, high = (sum(prior[end] for prior in priors if prior is not None) for end in ("low", "high"))
    table["parameters"][norm] = uniform(low, high, "counts/pixel")
    merged = {**gas, "name": name, "norm": norm, "template": dressed(P6V11, gas["template"])}
    table["components"] = [merged if c is gas else c for c in table["components"] if c is not compton]
    return table


def with_modulation(table: Table, l_max: int) -> Table:
    """The model with its diffuse gas modulated up to l_max; 0: not at all.

    Raises:
        InputError: a model without gas or p6v11.
    """
    table = deepcopy(table)
    component = _modulated(table)
    template = component["template"]
    old = template.get("modulation") if isinstance(template, dict) else None
    bare = {"map": template} if isinstance(template, str) else {**template, "modulation": None}
    if l_max:
        coefficients = old["coefficients"] if old else _COEFFICIENTS[0]
        table["parameters"].setdefault(coefficients, dict(_COEFFICIENTS[1]))
        bare["modulation"] = {"l_max": l_max, "coefficients": coefficients}
    component["template"] = bare
    return table


def _modulated(table: Table) -> Table:
    """The component that is modulated, or that would be."""

    def modulation(component: Table) -> Any:
        template = component["template"]
        return template.get("modulation") if isinstance(template, dict) else None

    maps = {*GAS.values(), P6V11}
    candidates = [c for c in table["components"] if modulation(c)]
    candidates = candidates or [c for c in table["components"] if set(map_names(c["template"])) & maps]
    return _only(candidates, "l_max", ", ".join(sorted(maps)), table)
