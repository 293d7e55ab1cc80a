"""Which parameters of a model to show first."""

from __future__ import annotations

from collections.abc import Iterable

from gammasky.engine.model.latent import Latent
from gammasky.engine.model.spec import Component, ModelSpec, PerBin
from gammasky.engine.model.values import uses_of

MOST = 10


def main_parameters(spec: ModelSpec, latent: Latent, most: int = MOST) -> list[str]:
    """Scalar parameters to show first, in the model's own order; never slopes or breaks.

    Classes are taken whole, as long as no more than `most` come together: norms of point sources and of what shares a
    group with them; the shapes of their templates; norms of smooth components whose template is free; other norms;
    shapes of smooth templates.
    """
    groups = {component.group for component in spec.populations if component.group}
    in_question = [c for c in spec.components if c.of_sources or c.group in groups]
    flexible = [component for component in spec.smooth if _shapes([component])]
    classes = [
        _norms(in_question),
        _shapes(spec.populations),
        _norms(flexible),
        _norms(spec.components),
        _shapes(spec.smooth),
    ]
    chosen: set[str] = set()
    for names in classes:
        new = [name for name in dict.fromkeys(names) if name not in chosen and not latent.slots[name].shape]
        if len(chosen) + len(new) > most and chosen:
            break
        chosen |= set(new[:most])
    return [name for name in latent.slots if name in chosen]


def _norms(components: Iterable[Component]) -> list[str]:
    found: list[str] = []
    for component in components:
        norm = component.norm if component.norm is not None else component.amplitude
        if isinstance(norm, PerBin):
            found += [use.parameter for use in norm.uses("")]
        else:
            found += [use.parameter for use in uses_of("norm", norm)]
    return found


def _shapes(components: Iterable[Component]) -> list[str]:
    """Parameters of the templates other than those of modulations and fields."""
    uses = [use for component in components for use in component.template.shape_uses("")]
    return [use.parameter for use in uses if use.shares or not use.elements]
