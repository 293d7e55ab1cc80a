"""The parameters of a model and the places where they stand: declared, used, and with a prior that fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.model.expressions import is_name, problem, read
from gammasky.engine.model.priors import Dirichlet, Normal
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.values import Use


def parameter_labels(
    spec: ModelSpec, energy_edges_gev: NDArray[np.float64] | None = None
) -> dict[str, tuple[str, ...]]:
    """Names of the elements of every parameter, () for a single number.

    Args:
        spec: the model.
        energy_edges_gev (E + 1,) [GeV]: edges of the energy bins of the data set, whose ranges are the names of the
            elements of parameters per bin; only models with such parameters need them.

    Raises:
        InputError: a parameter that is used but not declared (nearest match), declared but not used, used with two
            sizes, or whose prior does not fit its place.
    """
    labels: dict[str, tuple[str, ...]] = {}
    every = list(_uses(spec))
    for use in every:
        name = use.parameter
        _require_known(use, spec)
        if use.per_bin:
            use = replace(use, elements=bin_labels(energy_edges_gev, use.where))
        prior = spec.parameters[name]
        # of an expression it is the whole that must lie in the limits
        prior.require_fit(name, replace(use, least=-math.inf, most=math.inf) if use.expression else use)
        if use.block and not (isinstance(prior, Normal) and (prior.mean, prior.sd) == (0.0, 1.0)):
            raise InputError(
                f"{use.where}: the coefficients '{name}' are standard normal, the amplitude says how large the field "
                f'is; give {name} = {{ prior = "normal", mean = 0, sd = 1 }}, got {prior.in_words()}'
            )
        # a single number as shares is that of the first of two
        elements = () if use.shares and not isinstance(prior, Dirichlet) else use.elements
        if labels.setdefault(name, elements) != elements:
            raise InputError(
                f"{use.where}: parameter '{name}' is used with elements {list(elements) or 'none'} here and "
                f"{list(labels[name]) or 'none'} elsewhere; use two parameters"
            )
    _require_limits(spec, every)
    for component in spec.populations:
        if component.source_counts is not None:
            where = f"component '{component.name}'"
            component.source_counts.require_priors(where, spec.parameters, spec.source_grid.limits)
        if component.luminosity is not None:
            component.luminosity.require_priors(f"component '{component.name}'", spec.parameters)
    unused = [name for name in spec.parameters if name not in labels]
    if unused:
        raise InputError(f"parameter '{unused[0]}' is not used by any component; remove it or use it")
    return {name: labels[name] for name in spec.parameters}


def _require_known(use: Use, spec: ModelSpec) -> None:
    """Refuse a name that is not declared."""
    name, known = use.parameter, spec.parameters
    if use.expression in known and use.expression:
        raise InputError(
            f"{use.where}: '{use.expression}' is the name of a parameter and reads as an expression; rename it with "
            "letters, digits and _ only"
        )
    if name in known:
        return
    if use.expression:
        at = read(use.expression, use.where).names()[name]
        raise problem(use.where, use.expression, at, str(unknown_name("parameter", name, known)))
    if not is_name(name):
        raise InputError(
            f"{use.where}: expected the name of one parameter, which holds all numbers, got '{name}'; expressions "
            "stand for single numbers"
        )
    raise InputError(f"{use.where}: {unknown_name('parameter', name, known)}")


def _require_limits(spec: ModelSpec, uses: Iterable[Use]) -> None:
    """Refuse expressions that by the priors may be what makes no sense where they stand, or may have no value."""
    supports = {name: prior.support() for name, prior in spec.parameters.items()}
    for use in {(use.where, use.expression, use.least, use.most): use for use in uses if use.expression}.values():
        read(use.expression, use.where).require_between(supports, use.least, use.most, use.what)


def block_parameters(spec: ModelSpec) -> set[str]:
    """The parameters whose many elements are shown together only, such as the coefficients of a field."""
    return {use.parameter for use in _uses(spec) if use.block}


def _uses(spec: ModelSpec) -> Iterator[Use]:
    """Every place of a parameter in a model."""
    return chain(*[component.uses() for component in spec.components], *[term.uses() for term in spec.terms])


def bin_labels(energy_edges_gev: NDArray[np.float64] | None, where: str) -> tuple[str, ...]:
    """The ranges of the energy bins, such as 2-5 GeV.

    Raises:
        InputError: nobody has said which bins there are.
    """
    if energy_edges_gev is None:
        raise InputError(f"{where}: a parameter per energy bin, and no data set to say which bins there are")
    return tuple(f"{low:.4g}-{high:.4g} GeV" for low, high in pairwise(energy_edges_gev.tolist()))
