"""Figures of a fit, one file each: maps, corner, source-count functions, fluxes, ELBO, predictive checks, residuals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gammasky.engine.infer.derived import BIN_FLUX, Predictions
from gammasky.engine.infer.energy_spectra import EnergySpectra
from gammasky.engine.model import SkyModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gammasky.engine.infer.predictive import PredictiveCheck

FIGURES = ("maps", "fields", "fluxes", "sed", "corner", "dnds", "elbo", "predictive", "residuals", "profiles")


def save_figures(
    model: SkyModel,
    predictions: Predictions,
    derived: Mapping[str, np.ndarray],
    elbo_trace: np.ndarray,
    folder: Path | str,
    check: PredictiveCheck | None = None,
) -> list[Path]:
    """Draw every figure that the model has something for, as PNG.

    Args:
        model: the model.
        predictions: what `predict` gave.
        derived: what `derive(model, z)` gave.
        elbo_trace (steps,): ELBO of each step.
        folder: where the figures go, each as NAME.png.
        check: replicated skies.

    Returns:
        the files written: no corner.png without free main parameters, no dnds.png without point sources, no elbo.png
        without steps, no predictive.png, residuals.png or profiles.png without a check, no sed.png with one energy bin,
        no fields.png without fields.

    Raises:
        OSError: what the file system refused; older files are then still whole.
    """
    from gammasky.engine.infer.figures import (
        corner,
        dnds,
        elbo,
        fields,
        fluxes,
        maps,
        predictive,
        profiles,
        residuals,
        sed,
    )
    from gammasky.engine.infer.figures.style import save, styled

    figures: dict[str, Callable[[], Figure]] = {
        "maps": partial(maps.draw, model, predictions.counts),
        "fluxes": partial(fluxes.draw, model, derived),
    }
    if predictions.fields:
        figures["fields"] = partial(fields.draw, model, predictions.fields)
    if BIN_FLUX in derived:
        figures["sed"] = partial(sed.draw, EnergySpectra.of(model, derived))
    if model.main_parameters():
        figures["corner"] = partial(corner.draw, model, derived)
    if model.spec.populations:
        figures["dnds"] = partial(dnds.draw, model, predictions.dnds)
    if len(elbo_trace):
        figures["elbo"] = partial(elbo.draw, np.asarray(elbo_trace))
    if check is not None:
        figures["predictive"] = partial(predictive.draw, model, check)
        figures["residuals"] = partial(residuals.draw, model, check)
        figures["profiles"] = partial(profiles.draw, model, check)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with styled():
        return [save(figure(), Path(folder) / f"{name}.png") for name, figure in figures.items()]
