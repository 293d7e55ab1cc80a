"""Which parameter is used where: declared, used, of the right kind, and what its elements are called."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.model.priors import SUM_TOLERANCE, Dirichlet, Smooth
from gammasky.engine.model.spec import (
    BAR_LIMITS,
    AnyTemplate,
    BarTemplate,
    Component,
    DiskTemplate,
    FreeSourceCounts,
    MapTemplate,
    MixTemplate,
    ModelSpec,
    NfwTemplate,
    SourceCounts,
)

#: name of the parameter, names of its elements (() = scalar), where it is used
Use = tuple[str, tuple[str, ...], str]


def parameter_labels(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Names of the elements of every parameter, () for a scalar.

    Raises:
        InputError: a parameter that is used but not declared (nearest match), declared but not used, used with two
            sizes, or whose prior does not fit its use.
    """
    labels: dict[str, tuple[str, ...]] = {}
    for component in spec.components:
        for name, elements, where in component_uses(component):
            if name not in spec.parameters:
                raise InputError(f"{where}: {unknown_name('parameter', name, spec.parameters)}")
            _check_prior(name, spec, elements, where)
            if where.endswith("mix") and not isinstance(spec.parameters[name], Dirichlet):
                elements = ()  # the share of the first of two
            if labels.setdefault(name, elements) != elements:
                raise InputError(
                    f"{where}: parameter '{name}' is used with elements {list(elements) or 'none'} here and "
                    f"{list(labels[name]) or 'none'} elsewhere; use two parameters"
                )
        if isinstance(component.source_counts, SourceCounts):
            _check_breaks(component.name, component.source_counts, spec)
    unused = [name for name in spec.parameters if name not in labels]
    if unused:
        raise InputError(f"parameter '{unused[0]}' is not used by any component; remove it or use it")
    return {name: labels[name] for name in spec.parameters}


def template_label(template: AnyTemplate) -> str:
    """A short name for a template, for the elements of a mixture."""
    if isinstance(template, str):
        return template
    if isinstance(template, MapTemplate):
        return template.map
    return type(template).__name__.removesuffix("Template").lower()


def harmonic_orders(l_max: int) -> list[tuple[int, int]]:
    """(l, m) of the modulation coefficients: l = 1 .. l_max, m = 0 .. l."""
    return [(degree, order) for degree in range(1, l_max + 1) for order in range(degree + 1)]


def component_uses(component: Component) -> Iterator[Use]:
    where = f"component '{component.name}'"
    for value in (component.norm, component.amplitude):
        if isinstance(value, str):
            yield value, (), where
    counts = component.source_counts
    if isinstance(counts, FreeSourceCounts) and isinstance(counts.values, str):
        yield counts.values, tuple(f"{node:g}" for node in counts.nodes), f"{where}, source_counts values"
    if isinstance(counts, SourceCounts):
        for value in (*counts.slopes, *counts.breaks):
            if isinstance(value, str):
                yield value, (), f"{where}, source_counts"
    yield from template_uses(component.template, where)


def template_uses(template: AnyTemplate, where: str) -> Iterator[Use]:
    """Every use of a parameter in a template; none where all its numbers are fixed.

    Raises:
        InputError: a fixed number that cannot be; says `where`.
    """
    if isinstance(template, str):
        return
    if isinstance(template, NfwTemplate) and isinstance(template.nfw.gamma, str):
        yield template.nfw.gamma, (), f"{where}, nfw"
    if isinstance(template, DiskTemplate):
        for value in (template.disk.scale_height, template.disk.C, template.disk.B):
            if isinstance(value, str):
                yield value, (), f"{where}, disk"
    if isinstance(template, BarTemplate):
        for field, value in template.bar.shape().items():
            if isinstance(value, str):
                yield value, (), f"{where}, bar {field}"
            elif value < BAR_LIMITS[field]:
                raise InputError(f"{where}: {field} of a bar must be at least {BAR_LIMITS[field]:g}, got {value:g}")
    if isinstance(template, MixTemplate):
        yield from _mix_uses(template, where)
    if template.modulation is not None:
        orders = harmonic_orders(template.modulation.l_max)
        yield template.modulation.coefficients, tuple(f"{l},{m}" for l, m in orders), f"{where}, modulation"  # noqa: E741


def _mix_uses(template: MixTemplate, where: str) -> Iterator[Use]:
    members = [template_label(member) for member in template.mix]
    if len(set(members)) < len(members):
        members = [f"{number}:{member}" for number, member in enumerate(members)]
    if isinstance(template.fractions, list) and len(template.fractions) != len(members):
        raise InputError(f"{where}: a mix of {len(members)} templates needs as many fractions")
    if isinstance(template.fractions, float) and len(members) != 2:
        raise InputError(f"{where}: one number as fractions is the share of the first of TWO templates")
    if not isinstance(template.fractions, str):
        _check_shares(template.fractions, where)
    if isinstance(template.fractions, str):
        yield template.fractions, tuple(members), f"{where}, mix"
    for member in template.mix:
        yield from template_uses(member, where)


def _check_shares(fractions: float | list[float], where: str) -> None:
    """Fixed shares of a mixture: one from 0 to 1, or several that add up to 1."""
    shares = fractions if isinstance(fractions, list) else [fractions, 1.0 - fractions]
    if min(shares) < 0 or abs(sum(shares) - 1.0) > SUM_TOLERANCE:
        raise InputError(f"{where}: fractions must lie in 0 to 1 and add up to 1, got {fractions}")


def _check_prior(name: str, spec: ModelSpec, elements: tuple[str, ...], where: str) -> None:
    """A Dirichlet prior only for a mixture, and of its length; a scalar mixes two."""
    prior, mixes = spec.parameters[name], where.endswith("mix")
    field, low = where.rpartition(" bar ")[2], prior.support()[0]
    if low < BAR_LIMITS.get(field, -math.inf):
        raise InputError(
            f"prior of '{name}': {field} of a bar must be at least {BAR_LIMITS[field]:g}, its prior starts at {low:g}"
        )
    if isinstance(prior, Smooth) and not elements:
        raise InputError(f"{where}: parameter '{name}' has a smooth prior, which is for the values of a free dN/dS")
    if isinstance(prior, Dirichlet):
        if not mixes:
            raise InputError(f"{where}: parameter '{name}' has a dirichlet prior, expected a prior of a single number")
        if isinstance(prior.concentration, list) and len(prior.concentration) != len(elements):
            raise InputError(
                f"prior of '{name}': expected {len(elements)} concentrations for {', '.join(elements)}, "
                f"got {len(prior.concentration)}"
            )
    elif mixes:
        if len(elements) != 2:
            raise InputError(f"{where}: fractions '{name}' of {len(elements)} templates need a dirichlet prior")
        low, high = prior.support()
        if low < 0 or high > 1:
            raise InputError(f"prior of '{name}': a share must lie in 0 to 1, got {low:g} to {high:g}")


def _check_breaks(component: str, counts: SourceCounts, spec: ModelSpec) -> None:
    """Breaks must be positive and stay in order for every value that their priors allow."""
    limits = [spec.parameters[b].support() if isinstance(b, str) else (b, b) for b in counts.breaks]
    names = [str(b) for b in counts.breaks]
    for position, (name, (low, high)) in enumerate(zip(names, limits, strict=True)):
        if low <= 0:
            raise InputError(f"component '{component}': break '{name}' must be positive, its prior starts at {low:g}")
        if position == 0:
            continue
        if counts.relative and high > 1:
            raise InputError(
                f"component '{component}': breaks out of order: relative break '{name}' must stay below 1, "
                f"its prior ends at {high:g}"
            )
        if not counts.relative and high > limits[position - 1][0]:
            raise InputError(
                f"component '{component}': breaks out of order: '{name}' reaches {high:g}, above the lowest "
                f"'{names[position - 1]}' = {limits[position - 1][0]:g}; separate the priors or set relative = true"
            )
