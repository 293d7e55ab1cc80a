"""What a sky model shows of itself in Python: a card in a notebook, and maps of what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from gammasky.engine.card import as_picture, card
from gammasky.engine.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gammasky.engine.model.sky_model import SkyModel


def html(model: SkyModel) -> str:
    """Components and parameters as tables."""
    spec = model.spec
    components = [
        [
            component.name,
            "point sources" if component.source_counts is not None else "smooth",
            component.template.label(),
            str(component.norm if component.amplitude is None else component.amplitude),
            component.group,
        ]
        for component in spec.components
    ]
    parameters = [[name, in_words(prior), prior.unit] for name, prior in spec.parameters.items()]
    pixels, photons = model.pixels.n_fit, int(model.pixels.counts.sum())
    facts = {
        "data": f"{model.dataset.name}, {pixels:,} fitted pixels, {photons:,} photons",
        "latent numbers": str(model.n_latent),
        "reference": spec.reference or "none",
    }
    tables = [
        {"caption": "Components", "headings": ["", "kind", "template", "norm", "group"], "rows": components},
        {"caption": "Parameters", "headings": ["", "prior", "unit"], "rows": parameters},
    ]
    return card(spec.name, spec.description, facts, tables)


def in_words(prior: Any) -> str:
    """A prior in words, such as uniform(low=0.1, high=2.5)."""
    settings = prior.model_dump(exclude={"prior", "unit", "label"}, exclude_none=True)
    return f"{prior.prior}({', '.join(f'{name}={value}' for name, value in settings.items())})"


def plot(model: SkyModel, component: str | None, theta: Mapping[str, Any] | None) -> Figure:
    """See `SkyModel.plot`."""
    from gammasky.engine.sky import sky_map

    names = [known.name for known in model.spec.components]
    if component is not None and component not in names:
        raise unknown_name("component", component, names)
    point = model.parameters(jnp.zeros(model.n_latent)) if theta is None else model.point(theta)
    counts = model.expectation.counts(model.sky(point), model.arrays["sky"])
    chosen = [counts[name] for name in (names if component is None else [component])]
    n_fit = model.pixels.n_fit
    sky = model.pixels.to_map(np.sum([np.asarray(values[:n_fit]) for values in chosen], axis=0)).sum(axis=0)
    title = f"{model.spec.name}: {component or 'all components'}"
    return as_picture(sky_map.draw(sky, model.pixels.grid, title, "expected counts per pixel"))
