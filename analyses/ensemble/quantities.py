"""The numbers that an ensemble is made for: what the excess is, in the draws of one fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.ensemble.tables import EXCESS, roles
from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.sources import sources_above, thinned
from gammasky.engine.infer.summary import described
from gammasky.engine.model import SkyModel
from gammasky.engine.model.spec import Component
from gammasky.engine.model.values import value_of

Floats = NDArray[np.float64]
STATISTICS = ("mean", "sd", "q05", "q50", "q95")
#: Name -> (what it is, unit), in the order of tables and figures.
QUANTITIES = {
    "ps_fraction": ("point-source fraction of the excess", ""),
    "excess_flux": ("flux of the excess", "counts/pixel"),
    "smooth_flux": ("flux of the smooth excess", "counts/pixel"),
    "excess_share": ("share of the excess in all flux", ""),
    "gamma": ("inner slope, smooth", ""),
    "gamma_ps": ("inner slope, point sources", ""),
    "f_bulge": ("bulge fraction, smooth", ""),
    "f_bulge_ps": ("bulge fraction, point sources", ""),
    "n_sources": ("sources of the excess above 1 photon", ""),
}
FAINTEST = 1.0  # photons of a source that is counted


def excess_group(model: SkyModel) -> str | None:
    """The group of the excess: `gce`, or the only group that there is; None where neither is clear."""
    groups = {component.group for component in model.spec.components if component.group}
    return EXCESS if EXCESS in groups else groups.pop() if len(groups) == 1 else None


def quantity_draws(model: SkyModel, derived: Mapping[str, Floats]) -> dict[str, Floats]:
    """Draws (n,) of every quantity that the model has; slopes and fractions that are fixed are none.

    Args:
        model: the model.
        derived: what `derive` gave for the draws.
    """
    group = excess_group(model)
    if group is None:
        return {}
    components = model.spec.components
    inside = [number for number, component in enumerate(components) if component.group == group]
    smooth = [number for number in inside if not components[number].of_sources]
    flux = derived[FLUX][:, inside].sum(axis=1)
    found = {"excess_flux": flux, "excess_share": flux / derived[FLUX].sum(axis=1)}
    if smooth:
        found["smooth_flux"] = derived[FLUX][:, smooth].sum(axis=1)
    if group in model.expectation.groups:
        found["ps_fraction"] = derived[POINT_SOURCE_FRACTION][:, model.expectation.groups.index(group)]
    for component in (components[number] for number in inside):
        found |= _shape(component, derived)
    populations = [component for component in model.spec.populations if component.group == group]
    if populations:
        found["n_sources"] = _sources(model, populations, derived)
    return {name: found[name] for name in QUANTITIES if name in found}


def _shape(component: Component, derived: Mapping[str, Floats]) -> dict[str, Floats]:
    """Slope and bulge fraction of a component, where they are free numbers."""
    suffix = "_ps" if component.of_sources else ""
    meaning = roles(component.model_dump()["template"])
    names = {"gamma": meaning.gamma, "f_bulge": meaning.f_bulge}
    found = {role: np.asarray(value_of(name, derived)) for role, name in names.items() if name}
    return {f"{role}{suffix}": values for role, values in found.items() if values.ndim == 1}


def _sources(model: SkyModel, populations: list[Component], derived: Mapping[str, Floats]) -> Floats:
    """Sources above 1 photon in the region of interest; of evenly spread draws, if there are many."""
    every = model.expectation.populations
    program = model.program("source counts of draws", lambda: every.program)  # members of one structure share it
    draws = {name: values for name, values in thinned(derived).items() if name in model.latent.slots}
    dnds = every.dnds(draws, program)
    inside = [every.names.index(population.name) for population in populations]
    bins, faintest = model.expectation.bins, FAINTEST
    if model.spec.source_grid.in_flux:  # at the middle of the priors of the spectrum
        faintest /= float(bins.source_exposure(populations[0], model.expectation.middle))
    per_pixel = [sources_above(every.s_grid, dnds[:, number], faintest) for number in inside]
    return np.asarray(np.sum(per_pixel, axis=0) * (model.pixels.n_region // bins.n))


def as_row(draws: Mapping[str, Floats]) -> dict[str, float]:
    """Moments and quantiles of every quantity, `<quantity>_<statistic>`."""
    numbers = {name: described(values) for name, values in draws.items()}
    return {f"{name}_{key}": float(entry[key]) for name, entry in numbers.items() for key in STATISTICS}
