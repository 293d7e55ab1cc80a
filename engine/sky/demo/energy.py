"""What the demo sky of four energy bins expects at its truth, and photons drawn from it: as `expectation`, in NumPy.

The model is that of `analyses/inner_galaxy_energy.toml`, written out once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.demo.expectation import (
    BULGES,
    COMPTON,
    GAS,
    broken_power_law,
    disk,
    mapped,
    mixed,
    nfw_squared,
)
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.response import trapezoid_weights
from gammasky.engine.sky.roi import RegionOfInterest
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation
from gammasky.engine.sky.spectra import integral_in_bins

FLUX_GRID = np.geomspace(5e-12, 5e-9, 1000)  # [cm^-2 s^-1], of inner_galaxy_energy.toml
BULGE_SHARES = (0.3, 0.4, 0.3)
ISOTROPIC, BUBBLES, CATALOGUED = 2.3, 1.9, 2.4  # slopes of the spectra that the model holds fixed


@dataclass(frozen=True, eq=False)
class EnergyExpectation:
    """The ingredients of the counts in the N pixels of each of E energy bins.

    Args:
        mean (E, N) [counts]: of the smooth components.
        templates: of each population (N,), mean 1 over the region.
        dndf: of each population (S,) [sources per pixel per cm^-2 s^-1] on `FLUX_GRID`.
        shares (E,): of a source's flux in each bin.
    """

    mean: np.ndarray
    templates: dict[str, np.ndarray]
    dndf: dict[str, np.ndarray]
    shares: np.ndarray


def one_bin(dataset: Dataset) -> Dataset:
    """The first energy bin alone: shapes and the pattern of the exposure are those of all bins."""
    edges = dataset.manifest.energy_edges_gev
    assert edges is not None
    manifest = dataset.manifest.model_copy(update={"energy_edges_gev": edges[:2]})
    return replace(
        dataset,
        manifest=manifest,
        counts=dataset.counts[:1],
        exposure=dataset.exposure[:1],
        checksums={},
        _templates={},
    )


def shares(law: Callable[[np.ndarray], np.ndarray], edges: np.ndarray) -> np.ndarray:
    """The share of photons of dN/dE in each bin (E,)."""
    nodes = np.geomspace(edges[0], edges[-1], 2001)
    photons = integral_in_bins(nodes, law(nodes), edges)
    return photons / photons.sum()


def energy_expectation(
    dataset: Dataset, pixels: Observation, exposure: np.ndarray, truth: Mapping[str, Any]
) -> EnergyExpectation:
    """The model at `truth`.

    Args:
        dataset: its templates, of one bin (see `one_bin`).
        pixels: any pixels of one bin; the first `n_region` set the norms.
        exposure (E,) [cm^2 s]: mean exposure of the region in each bin.
        truth: parameters by name.
    """
    edges = np.array(truth["edges"])

    def power_law(index: float) -> np.ndarray:
        """Shares of counts."""
        found = shares(lambda e: e**-index, edges) * exposure
        return np.asarray(found / found.sum())[:, None]

    gce = _unit(_excess(dataset, pixels, truth, "poiss", pixels.relative_exposure), pixels)
    mean = np.outer(truth["S_pib"], mixed(dataset, pixels, GAS, truth["theta_pib"]))
    mean += np.outer(truth["S_ics"], mixed(dataset, pixels, COMPTON, truth["theta_ics"]))
    mean += truth["S_iso"] * power_law(ISOTROPIC) * mapped(dataset, pixels, "iso")
    mean += truth["S_bub"] * power_law(BUBBLES) * mapped(dataset, pixels, "bub")
    mean += truth["S_psc"] * power_law(CATALOGUED) * mapped(dataset, pixels, "psc_3fgl")
    mean += truth["S_gce"] * power_law(truth["index_gce"]) * gce
    of_sources = shares(lambda e: e ** -truth["index_ps"] * np.exp(-e / truth["cutoff_ps"]), edges)
    templates = {"gce_ps": _excess(dataset, pixels, truth, "ps", 1.0), "dsk_ps": disk(pixels, truth["zs"], truth["C"])}
    dndf = {f"{name}_ps": _dndf(truth, name, float(of_sources @ truth["reference"])) for name in ("gce", "dsk")}
    return EnergyExpectation(mean, templates, dndf, of_sources)


def energy_counts(dataset: Dataset, region: RegionOfInterest, seed: int) -> np.ndarray:
    """Photons (E, npix) int64 of the whole sphere at the truth of the manifest."""
    single, seen = one_bin(dataset), region.flatten(dataset)
    pixels = region.flatten(single, around_deg=180.0)
    known = {"edges": dataset.energy_edges_gev, "reference": seen.reference_exposure}
    found = energy_expectation(single, pixels, seen.mean_exposure, {**dataset.manifest.truth, **known})
    order = np.argsort(pixels.index)  # the order of the map
    everywhere = RegionOfInterest(exposure_regions=1).flatten(dataset)
    per_flux = found.shares * everywhere.reference_exposure
    populations = [
        SourcePopulation.from_template(name, template[order], FLUX_GRID, found.dndf[name], per_flux)
        for name, template in found.templates.items()
    ]
    mean = found.mean[:, order].ravel()
    return SkySimulator(everywhere).draw(mean, populations, n=1, seed=seed)[0].reshape(dataset.counts.shape)


def _dndf(truth: Mapping[str, Any], name: str, exposure: float) -> np.ndarray:
    """dN/dF of one population, whose norm is its counts at the exposure."""
    n1, n2, n3, first, share = (truth[f"{key}_{name}"] for key in ("n1", "n2", "n3", "Fb1", "lambdas"))
    shape = broken_power_law(FLUX_GRID, (n1, n2, n3), (first, share * first))
    flux = np.sum(trapezoid_weights(FLUX_GRID) * FLUX_GRID * shape)
    return np.asarray(truth[f"Sps_{name}"] / exposure * shape / flux)


def _excess(
    dataset: Dataset, pixels: Observation, truth: Mapping[str, Any], kind: str, exposure: np.ndarray | float
) -> np.ndarray:
    """Bulge and NFW^2, each times the exposure and of mean 1."""
    share = truth[f"f_bulge_{kind}"]
    bulges = [_unit(dataset.template_at(name, pixels.index) * exposure, pixels) for name in BULGES]
    nfw = _unit(nfw_squared(pixels, truth[f"gamma_{kind}"]) * exposure, pixels)
    return np.asarray(share * (np.array(BULGE_SHARES) @ np.stack(bulges)) + (1.0 - share) * nfw)


def _unit(values: np.ndarray, pixels: Observation) -> np.ndarray:
    return np.asarray(values / values[: pixels.n_region].mean())
