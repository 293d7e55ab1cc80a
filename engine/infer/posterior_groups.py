"""The groups of a posterior file: what the draws, the data and the pixels are called there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gammasky.engine.infer.derived import (
    BIN_FLUX,
    FIELD_SD,
    FLUX,
    LUMINOSITY,
    POINT_SOURCE_FRACTION,
    Predictions,
    luminosity_names,
    prior_numbers,
)
from gammasky.engine.infer.fields import BANDS, QUANTILES, FieldPosterior
from gammasky.engine.model import SkyModel
from gammasky.engine.model.parameters import bin_labels
from gammasky.engine.sky.pixels import HealpixPixels

if TYPE_CHECKING:
    from xarray import Dataset


def posterior_group(model: SkyModel, z: np.ndarray, derived: Mapping[str, np.ndarray], chains: int = 1) -> Dataset:
    """Draws of every parameter, of the fluxes and fractions and of z (n, D), with units, priors and element names."""
    import xarray

    draws = partial(_draws, chains)
    variables, axes = {}, _draw_axes(chains, len(z))
    for name, slot in model.latent.slots.items():
        prior = model.spec.parameters[name]
        notes = {"units": prior.unit, "long_name": prior.label or name, "prior": prior.in_words()}
        dimensions = [f"{name}_element"] if slot.labels else []
        variables[name] = draws(derived[name], dimensions, notes)
        axes |= {dimension: _names(slot.labels) for dimension in dimensions}
    of_derived, more = _of_derived(model, derived, chains)
    variables, axes = variables | of_derived, axes | more
    if BIN_FLUX in derived:
        notes = {"units": "counts/pixel", "long_name": "mean counts per pixel over the region in each energy bin"}
        variables[BIN_FLUX] = draws(derived[BIN_FLUX], ["component", "energy"], notes)
        axes["energy"] = _names(bin_labels(model.pixels.energy_edges_gev, BIN_FLUX))
    variables["z"] = draws(z, ["latent"], {"units": "1", "long_name": "latent space, prior N(0, 1)"})
    axes["latent"] = _names(model.latent.names)
    return xarray.Dataset(variables, axes)


def prior_group(model: SkyModel) -> Dataset:
    """What the prior says of the fluxes and of the derived numbers that results are quoted with, by draws from it."""
    import xarray

    found = prior_numbers(model)
    variables, axes = _of_derived(model, found, chains=1)
    return xarray.Dataset(variables, axes | _draw_axes(1, len(found[FLUX])))


def _of_derived(
    model: SkyModel, derived: Mapping[str, np.ndarray], chains: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables and axes of the derived numbers that are not of one energy bin each."""
    components = [component.name for component in model.spec.components]
    known = {
        FLUX: ("component", components, "counts/pixel", "mean counts per pixel over the region of interest"),
        POINT_SOURCE_FRACTION: (
            "group", model.expectation.groups, "1", "share of point sources in the flux of the group"
        ),
        FIELD_SD: ("field", model.expectation.fields, "1", "standard deviation of the field over the region"),
        LUMINOSITY: ("source_number", luminosity_names(model), "", "mean luminosities and numbers of sources"),
    }  # fmt: skip
    variables, axes = {}, {}
    for kind, (dimension, names, unit, text) in known.items():
        if names:
            variables[kind] = _draws(chains, derived[kind], [dimension], {"units": unit, "long_name": text})
            axes[dimension] = _names(names)
    return variables, axes


def sample_stats_group(
    z: np.ndarray, log_likelihood: np.ndarray, log_guide: np.ndarray | None, chains: int = 1
) -> Dataset:
    """Densities of each draw: lp = log N(z; 0, 1) + log-likelihood, the log-likelihood, the guide's if any (n,)."""
    import xarray

    log_prior = -0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi)
    stats = {
        "lp": (log_prior + log_likelihood, "log density on the latent space"),
        "log_likelihood": (log_likelihood, "log-likelihood of all pixels"),
    }
    if log_guide is not None:
        stats["log_guide"] = (log_guide, "log density of the guide on the latent space")
    variables = {name: _draws(chains, values, [], {"long_name": text}) for name, (values, text) in stats.items()}
    return xarray.Dataset(variables, _draw_axes(chains, len(z)))


def predictions_group(model: SkyModel, predictions: Predictions) -> Dataset:
    """The group of what the model expects: counts by component and pixel, and dN/dS of some draws."""
    import xarray

    pixels, populations = model.pixels, model.expectation.populations
    notes = {"units": "counts", "long_name": "expected counts, averaged over the posterior"}
    counts = np.stack([predictions.counts[component.name] for component in model.spec.components])
    variables: dict[str, Any] = {"expected_counts": (("component", "region_pixel"), counts, notes)}
    axes: dict[str, Any] = {
        "component": _names([component.name for component in model.spec.components]),
        "region_healpix": ("region_pixel", pixels.pixel),
    }
    if predictions.fields:
        of_fields, more = _of_fields(predictions.fields)
        variables, axes = variables | of_fields, axes | more
    if not populations.components:
        return xarray.Dataset(variables, axes)
    in_flux = model.spec.source_grid.in_flux
    unit = {"units": "sources/pixel/count", "long_name": "source-count function dN/dS"}
    if in_flux:
        unit = {"units": "sources/pixel/(cm-2 s-1)", "long_name": "source-count function dN/dF"}
    # single precision is far below the width of any posterior, and halves the file
    variables["dnds"] = (("sample", "population", "source"), predictions.dnds.astype(np.float32), unit)
    if predictions.true_dnds is not None:
        variables["true_dnds"] = (("population", "source"), predictions.true_dnds, unit)
    axes["population"] = _names(populations.names)
    axes["draw_number"] = ("sample", predictions.draws)
    if in_flux:
        notes = {"units": "cm-2 s-1", "long_name": "flux of a source in all energy bins together"}
        axes["source_flux"] = ("source", populations.s_grid, notes)
        return xarray.Dataset(variables, axes)
    notes = {"units": "counts", "long_name": "expected photons of a source at the reference exposure"}
    axes["source_counts"] = ("source", populations.s_grid, notes)
    if pixels.n_energy == 1:
        notes = {"units": "cm-2 s-1", "long_name": "flux of a source"}
        axes["source_flux"] = ("source", populations.s_grid / pixels.reference_exposure[0], notes)
    return xarray.Dataset(variables, axes)


def _of_fields(fields: Mapping[str, FieldPosterior]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables and axes of what the draws say of the fields."""
    stacked = {
        name: np.stack([getattr(field, name) for field in fields.values()])
        for name in ("mean", "sd", "power", "prior_power")
    }
    of_maps = {"units": "percent", "long_name": "exp(g) over its mean in the region, minus 1, in the pixels of the sky"}
    power = {"units": "1", "long_name": "variance over the region of the waves of g of these lengths"}
    owners = [", ".join(field.components) for field in fields.values()]
    variables = {
        "field_mean": (("field", "sky_pixel"), stacked["mean"], of_maps),
        "field_sd_map": (("field", "sky_pixel"), stacked["sd"], of_maps),
        "field_power": (("field", "wavelength", "quantile"), stacked["power"], power),
        "field_prior_power": (("field", "wavelength"), stacked["prior_power"], power),
    }
    axes = {
        "field": _names(fields),
        "wavelength": _names(BANDS),
        "quantile": np.array(QUANTILES),
        "field_components": ("field", _names(owners)),
    }
    return variables, axes


def observed_data_group(model: SkyModel) -> Dataset:
    """The photons in the fitted pixels as a group."""
    import xarray

    return xarray.Dataset({"counts": _pixels(model.pixels.counts, "counts", "photons")}, _pixel_axis(model))


def constant_data_group(model: SkyModel) -> Dataset:
    """The positions and exposures of the fitted pixels as a group."""
    import xarray

    pixels = model.pixels
    of_pixels = {
        "healpix": (pixels.pixel, "1", f"pixel: {pixels.grid.name}"),
        "energy_bin": (pixels.energy_bin, "1", "energy bin"),
        "lon": (pixels.lon_deg, "deg", "Galactic longitude"),
        "lat": (pixels.lat_deg, "deg", "Galactic latitude"),
        "region": (pixels.region, "1", "exposure region"),
        "exposure": (pixels.exposure, "cm2 s", "exposure"),
        "relative_exposure": (pixels.relative_exposure, "1", "exposure over its mean"),
    }
    variables = {name: _pixels(values[: pixels.n_fit], *text) for name, (values, *text) in of_pixels.items()}
    ratios = {"units": "1", "long_name": "exposure of a region over the mean"}
    variables["exposure_ratios"] = ("exposure_region", pixels.exposure_ratios, ratios)
    at = {"units": "cm2 s", "long_name": "exposure at which source counts are expected counts"}
    variables["reference_exposure"] = ("energy", pixels.reference_exposure, at)
    mean = {"units": "cm2 s", "long_name": "mean exposure of the region of interest"}
    variables["mean_exposure"] = ("energy", pixels.mean_exposure, mean)
    variables["energy_edges"] = ("energy_edge", pixels.energy_edges_gev, {"units": "GeV", "long_name": "energy edges"})
    axes = {**_pixel_axis(model), "exposure_region": np.arange(len(pixels.exposure_ratios))}
    about: dict[str, Any] = {
        "n_region": pixels.n_region,
        "frame": pixels.grid.frame,
        "pixels": pixels.grid.name,
        "pixel_area_sr": pixels.pixel_area_sr,
    }
    if isinstance(pixels.grid, HealpixPixels):
        about |= {"nside": pixels.grid.nside, "ordering": "RING"}
    return xarray.Dataset(variables, axes, about)


def _draws(chains: int, values: np.ndarray, dimensions: list[str], notes: dict[str, str]) -> tuple[Any, ...]:
    """A variable of draws, chain after chain."""
    values = np.asarray(values)
    return ("chain", "draw", *dimensions), values.reshape(chains, len(values) // chains, *values.shape[1:]), notes


def _draw_axes(chains: int, n_draws: int) -> dict[str, Any]:
    return {"chain": np.arange(chains), "draw": np.arange(n_draws // chains)}


def _pixels(values: np.ndarray, unit: str, text: str) -> tuple[Any, ...]:
    return "pixel", values, {"units": unit, "long_name": text}


def _pixel_axis(model: SkyModel) -> dict[str, Any]:
    return {"pixel": np.arange(model.pixels.n_fit)}


def _names(labels: Iterable[str]) -> np.ndarray:
    return np.array(list(labels), dtype=object)  # variable-length text in the file
