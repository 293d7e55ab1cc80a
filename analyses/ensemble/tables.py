"""Models as plain tables, as the axes of an ensemble change them: what a template holds, and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: A model, a component or a template as a table like that of the TOML file, with every default written out.
Table = dict[str, Any]

EXCESS = "gce"  # group of the components that are the Galactic Centre excess
_DRESS = ("modulation", "field", "hemisphere")  # options that any template may have


@dataclass(frozen=True)
class Roles:
    """What the parameters of an excess's template mean; None where the template has no such parameter.

    Attributes:
        f_bulge: share of the bulge, the rest is NFW squared.
        theta_bulge: mixture of bulge maps.
        gamma: inner slope of the NFW profile.
        maps: of the bulge, by name.
    """

    f_bulge: str | None = None
    theta_bulge: str | None = None
    gamma: str | None = None
    maps: tuple[str, ...] = ()


def roles(template: Any) -> Roles:
    """The roles in a template `{mix = [bulge, {nfw = ...}], fractions = f_bulge}`, or in one of its two parts."""
    if isinstance(template, dict) and "nfw" in template:
        return Roles(gamma=_name(template["nfw"]["gamma"]))
    members = template["mix"] if isinstance(template, dict) and "mix" in template else []
    if len(members) == 2 and isinstance(members[1], dict) and "nfw" in members[1]:
        bulge = roles(members[0])
        return Roles(_name(template["fractions"]), bulge.theta_bulge, roles(members[1]).gamma, bulge.maps)
    maps = tuple(map_names(template))
    return Roles(theta_bulge=_name(template["fractions"]) if members else None, maps=maps)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def map_names(template: Any) -> Iterator[str]:
    """Names of the maps of the dataset that a template is made of."""
    if isinstance(template, str):
        yield template
    elif "map" in template:
        yield template["map"]
    for member in template.get("mix", []) if isinstance(template, dict) else []:
        yield from map_names(member)


def dressed(template: Any, old: Any) -> Any:
    """A template with the modulation and the hemisphere of another."""
    options = {name: old[name] for name in _DRESS if isinstance(old, dict) and old.get(name) is not None}
    if not options:
        return template
    return {**({"map": template} if isinstance(template, str) else template), **options}


def excess_components(table: Table) -> list[Table]:
    """The components of the excess, smooth and point sources."""
    return [component for component in table["components"] if component.get("group") == EXCESS]


def uniform(low: float, high: float, unit: str = "") -> Table:
    """A uniform prior."""
    return {"prior": "uniform", "low": low, "high": high, "unit": unit}
