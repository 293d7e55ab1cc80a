"""`summary.json`: the posterior in numbers, and a table of the main ones for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gammasky.engine.infer.derived import (
    BIN_FLUX,
    FIELD_SD,
    FLUX,
    INTENSITY,
    INTENSITY_UNIT,
    LUMINOSITY,
    POINT_SOURCE_FRACTION,
    QUOTED,
    intensity_scale,
    luminosity_names,
    true_values,
)
from gammasky.engine.infer.energy_spectra import UNIT, EnergySpectra
from gammasky.engine.infer.importance import weighted_quantiles
from gammasky.engine.infer.posterior import provenance
from gammasky.engine.model import SkyModel

if TYPE_CHECKING:
    from rich.table import Table

QUANTILES = (0.05, 0.16, 0.50, 0.84, 0.95)


def summarise(
    model: SkyModel, derived: Mapping[str, np.ndarray], info: Mapping[str, Any], weights: np.ndarray | None = None
) -> dict[str, Any]:
    """Moments and quantiles of every parameter and derived number, and what they rest on.

    Args:
        model: the model.
        derived: what `derive(model, z)` gave for the draws.
        info: about the fit (ELBO, steps, guide, seed, seconds, status, ...).
        weights (n,): importance weights of the draws, adding up to 1.

    Returns:
        "model_name", "dataset", "data_sha256" and "versions"; "fit" = info; "parameters" (elements of a vector as
        name[element]), "flux" (by component), with one energy bin "intensity" (the same [cm-2 s-1 sr-1]) and
        "point_source_fraction" (by group), each entry with mean, sd, the quantiles q05 to q95, unit, the same numbers
        "weighted" and, for simulated counts, truth; with fields "field_sd", the standard deviation of each over the
        region, whose coefficients are not among the parameters; with luminosity functions "luminosity", the mean
        luminosities and numbers of sources; "main_parameters", the names to show first. With
        several energy bins also "energy_spectra", E^2 dN/dE by component and bin, and "point_source_fraction_by_bin".
    """
    parameters: dict[str, dict[str, Any]] = {}
    truth = true_values(model)
    for name, slot in model.latent.slots.items():
        if not slot.block:
            unit = model.spec.parameters[name].unit
            parameters |= _described(slot.names, derived[name], unit, truth.get(name), weights)
    components = [component.name for component in model.spec.components]
    scale, flux = intensity_scale(model.pixels), truth.get(FLUX)
    told = None if scale is None or flux is None else flux * scale
    intensity = {} if scale is None else {
        INTENSITY: _described(components, derived[FLUX] * scale, INTENSITY_UNIT, told, weights)
    }  # fmt: skip
    return {
        **provenance(model),
        "fit": dict(info),
        "draws": len(derived[FLUX]),
        "main_parameters": model.main_parameters(),
        "parameters": parameters,
        FLUX: _described(components, derived[FLUX], "counts/pixel", truth.get(FLUX), weights),
        **intensity,
        POINT_SOURCE_FRACTION: _described(
            model.expectation.groups, derived[POINT_SOURCE_FRACTION], "1", truth.get(POINT_SOURCE_FRACTION), weights
        ),
        **(_of_fields(model, derived, truth, weights) if FIELD_SD in derived else {}),
        **(_of_luminosity(model, derived, truth, weights) if LUMINOSITY in derived else {}),
        **(_by_energy(model, derived, truth, weights) if BIN_FLUX in derived else {}),
    }


def _of_fields(
    model: SkyModel, derived: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], weights: np.ndarray | None
) -> dict[str, Any]:
    """The entries that fields have besides."""
    return {FIELD_SD: _described(list(model.expectation.fields), derived[FIELD_SD], "1", truth.get(FIELD_SD), weights)}


def _of_luminosity(
    model: SkyModel, derived: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], weights: np.ndarray | None
) -> dict[str, Any]:
    """The entries that populations with a luminosity function have besides."""
    units = luminosity_names(model)
    rows = _described(list(units), derived[LUMINOSITY], "", truth.get(LUMINOSITY), weights)
    return {LUMINOSITY: {name: {**row, "unit": units[name]} for name, row in rows.items()}}


def _by_energy(
    model: SkyModel, derived: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], weights: np.ndarray | None
) -> dict[str, Any]:
    """The entries that several energy bins have besides."""
    spectra = EnergySpectra.of(model, derived)
    true = EnergySpectra.of(model, {BIN_FLUX: truth[BIN_FLUX][None]}) if BIN_FLUX in truth else None
    labels = list(spectra.labels)
    sed = {
        component.name: _described(
            labels, spectra.sed[:, number], UNIT, None if true is None else true.sed[0, number], weights
        )
        for number, component in enumerate(spectra.components)
    }
    shares = {
        group: _described(labels, draws, "1", None if true is None else true.fractions[group][0], weights)
        for group, draws in spectra.fractions.items()
    }
    return {"energy_spectra": sed, "point_source_fraction_by_bin": shares}


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The main parameters and the derived numbers that results are quoted with, for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{summary['model_name']} on {summary['dataset']}"))
    table.add_column("parameter")
    shown = {"mean": "mean", "sd": "sd", "5 %": "q05", "50 %": "q50", "95 %": "q95"}
    if any("truth" in entry for entry in summary["parameters"].values()):
        shown = {"truth": "truth", **shown}
    for heading in shown:
        table.add_column(heading, justify="right")
    table.add_column("unit")
    rows = {name: summary["parameters"][name] for name in summary["main_parameters"]}
    for name, numbers in (rows | quoted_entries(summary)).items():
        cells = (f"{numbers[key]:.4g}" if key in numbers else "" for key in shown.values())
        table.add_row(escape(name), *cells, "" if numbers["unit"] == "1" else escape(numbers["unit"]))
    return table


def quoted_entries(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the derived numbers that results are quoted with, by the names that they have in tables."""
    return {
        called.format(name): entry for kind, called in QUOTED.items() for name, entry in summary.get(kind, {}).items()
    }


def _described(
    names: list[str],
    draws: np.ndarray,
    unit: str,
    truth: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """Moments and quantiles of draws (n,) or (n, names)."""
    columns = np.asarray(draws).reshape(len(draws), len(names)).T
    rows = {name: {**_numbers(column), "unit": unit} for name, column in zip(names, columns, strict=True)}
    if weights is not None:
        for row, column in zip(rows.values(), columns, strict=True):
            row["weighted"] = _weighted_numbers(column, weights)
    if truth is not None:
        for row, value in zip(rows.values(), np.atleast_1d(truth), strict=True):
            row["truth"] = float(value)
    return rows


def described(draws: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """Mean, sd and quantiles of draws (n,), by their weights (n,) if there are any."""
    return _numbers(draws) if weights is None else _weighted_numbers(draws, weights)


def _numbers(draws: np.ndarray) -> dict[str, float]:
    quantiles = {f"q{round(100 * q):02d}": float(np.quantile(draws, q)) for q in QUANTILES}
    return {"mean": float(draws.mean()), "sd": float(draws.std(ddof=1)) if len(draws) > 1 else 0.0, **quantiles}


def _weighted_numbers(draws: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Moments and quantiles of weighted draws (n,)."""
    mean = float(weights @ draws)
    sd = float(np.sqrt(weights @ (draws - mean) ** 2))
    quantiles = weighted_quantiles(draws, weights, QUANTILES)
    names = [f"q{round(100 * q):02d}" for q in QUANTILES]
    return {"mean": mean, "sd": sd, **dict(zip(names, quantiles.tolist(), strict=True))}
