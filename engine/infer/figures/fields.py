"""Maps of the fields on templates: posterior mean, and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gammasky.engine.infer.fields import FieldPosterior
from gammasky.engine.infer.figures.maps import Window, colour_bar
from gammasky.engine.model import SkyModel

LEAST = 1.0  # per cent that the colours of a field without any span


def draw(model: SkyModel, fields: Mapping[str, FieldPosterior]) -> Figure:
    """Two panels for each field, in Galactic coordinates: how much it raises its templates, and how well that is known.

    Args:
        model: the model.
        fields: what `field_posterior` gave, by name.
    """
    figure = Figure(figsize=(10.5, 5.6 * len(fields)), layout="constrained")
    axes, window = figure.subplots(len(fields), 2, sharey=True, squeeze=False), Window(model.pixels)
    for row, (name, field) in zip(axes, fields.items(), strict=True):
        largest = max(float(np.abs(field.mean).max()), LEAST)
        scales = Normalize(-largest, largest), Normalize(0.0, max(float(field.sd.max()), LEAST))
        panels = ((field.mean, scales[0], "RdBu_r", "mean"), (field.sd, scales[1], "viridis", "standard deviation"))
        for axis, (values, scale, colours, what) in zip(row, panels, strict=True):
            window.show(axis, on_sphere(model, values), scale, colours)
            axis.set_title(f"{name} on {', '.join(field.components)}: {what}")
            axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
            colour_bar(figure, [axis], scale, colours, r"$e^g$ over its mean, minus 1 [per cent]", shrink=0.8)
        row[0].set_ylabel(r"Galactic latitude $b$ [deg]")
    return figure


def on_sphere(model: SkyModel, values: np.ndarray) -> np.ndarray:
    """A map (npix,) of values (n_region / E,) in the pixels of the sky, NaN outside."""
    pixels = model.pixels
    sky = np.full(pixels.grid.n_pixels, np.nan)
    sky[pixels.by_bin(pixels.pixel[: pixels.n_region])[0]] = values
    return sky
