"""The parameters of a model and the places where they stand: declared, used, and with a prior that fits."""

from __future__ import annotations

from itertools import chain

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.model.priors import Dirichlet
from gammasky.engine.model.spec import ModelSpec


def parameter_labels(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Names of the elements of every parameter, () for a single number.

    Raises:
        InputError: a parameter that is used but not declared (nearest match), declared but not used, used with two
            sizes, or whose prior does not fit its place.
    """
    labels: dict[str, tuple[str, ...]] = {}
    uses = [component.uses() for component in spec.components] + [term.uses() for term in spec.terms]
    for use in chain(*uses):
        name = use.parameter
        if name not in spec.parameters:
            raise InputError(f"{use.where}: {unknown_name('parameter', name, spec.parameters)}")
        prior = spec.parameters[name]
        prior.require_fit(name, use)
        # a single number as shares is that of the first of two
        elements = () if use.shares and not isinstance(prior, Dirichlet) else use.elements
        if labels.setdefault(name, elements) != elements:
            raise InputError(
                f"{use.where}: parameter '{name}' is used with elements {list(elements) or 'none'} here and "
                f"{list(labels[name]) or 'none'} elsewhere; use two parameters"
            )
    for component in spec.populations:
        if component.source_counts is not None:
            limits = (spec.source_grid.min, spec.source_grid.max)
            component.source_counts.require_priors(f"component '{component.name}'", spec.parameters, limits)
    unused = [name for name in spec.parameters if name not in labels]
    if unused:
        raise InputError(f"parameter '{unused[0]}' is not used by any component; remove it or use it")
    return {name: labels[name] for name in spec.parameters}
