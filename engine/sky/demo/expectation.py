"""What the demo sky expects in every pixel at its truth: the fiducial model in plain NumPy.

The same numbers as `gammasky.engine.model` gives for `analyses/fiducial.toml`, written out once more because this layer
knows no models (and because two independent ways to the same mean check each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.demo import SUN_KPC
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.response import trapezoid_weights

SOURCE_GRID = np.geomspace(0.1, 100.0, 1000)  # [counts], of fiducial.toml

GAS, COMPTON, BULGES = ("Opi", "Api", "Fpi"), ("Oic", "Aic", "Fic"), ("macias2019", "coleman2019", "f98")
SINGLE = {"S_iso": "iso", "S_bub": "bub", "S_psc": "psc_3fgl"}


@dataclass(frozen=True, eq=False)
class Expectation:
    """The ingredients of the counts in N pixels.

    Args:
        mean (N,) [counts]: of the smooth components.
        templates: of each population (N,), mean 1 over the region: sources per pixel over their mean.
        dnds: of each population (S,) [sources per pixel per count] on `SOURCE_GRID`.
    """

    mean: np.ndarray
    templates: dict[str, np.ndarray]
    dnds: dict[str, np.ndarray]


def expectation(dataset: Dataset, pixels: Observation, truth: Mapping[str, Any]) -> Expectation:
    """The fiducial model at `truth`, without modulation of the gas (Alm = 0).

    Args:
        dataset: its templates.
        pixels: any pixels; the first `n_region` set the norms.
        truth: parameters by name.
    """
    mean = truth["S_pib"] * mixed(dataset, pixels, GAS, truth["theta_pib"])
    mean += truth["S_ics"] * mixed(dataset, pixels, COMPTON, truth["theta_ics"])
    for norm, name in SINGLE.items():
        mean += truth[norm] * mapped(dataset, pixels, name)
    mean += truth["S_gce"] * _excess(dataset, pixels, truth, "poiss")
    templates = {"gce_ps": _excess(dataset, pixels, truth, "ps"), "dsk_ps": disk(pixels, truth["zs"], truth["C"])}
    dnds = {f"{name}_ps": _source_counts(truth, name) for name in ("gce", "dsk")}
    return Expectation(mean, templates, dnds)


def broken_power_law(s: np.ndarray, slopes: tuple[float, float, float], breaks: tuple[float, float]) -> np.ndarray:
    """(S/b2)^-n3 below b2, (S/b2)^-n2 up to b1 > b2, and continuously on as S^-n1 (arXiv:2604.08648)."""
    (n1, n2, n3), (b1, b2) = slopes, breaks
    middle = (np.clip(s, b2, b1) / b2) ** -n2
    return (np.minimum(s, b2) / b2) ** -n3 * middle * (np.maximum(s, b1) / b1) ** -n1


def _source_counts(truth: Mapping[str, Any], name: str) -> np.ndarray:
    """dN/dS of one population, int S dN/dS dS = its norm by the trapezoidal rule."""
    n1, n2, n3, sb1, share = (truth[f"{key}_{name}"] for key in ("n1", "n2", "n3", "sb1", "lambdas"))
    shape = broken_power_law(SOURCE_GRID, (n1, n2, n3), (sb1, share * sb1))
    return truth[f"Sps_{name}"] * shape / np.sum(trapezoid_weights(SOURCE_GRID) * SOURCE_GRID * shape)


def _excess(dataset: Dataset, pixels: Observation, truth: Mapping[str, Any], kind: str) -> np.ndarray:
    """Bulge and NFW^2, as they are: the fiducial model multiplies no exposure into the smooth excess either."""
    share = truth[f"f_bulge_{kind}"]
    bulge = mixed(dataset, pixels, BULGES, truth[f"theta_bulge_{kind}"])
    return share * bulge + (1.0 - share) * nfw_squared(pixels, truth[f"gamma_{kind}"])


def mixed(dataset: Dataset, pixels: Observation, names: tuple[str, ...], shares: tuple[float, ...]) -> np.ndarray:
    """A mixture of maps of mean 1 over the region, in the pixels (N,)."""
    return np.asarray(shares) @ np.stack([mapped(dataset, pixels, name) for name in names])


def mapped(dataset: Dataset, pixels: Observation, name: str) -> np.ndarray:
    """A map of mean 1 over the region, in the pixels (N,)."""
    return _unit_mean(dataset.template_at(name, pixels.index), pixels)


def nfw_squared(pixels: Observation, gamma: float) -> np.ndarray:
    """Line-of-sight integral of the squared generalised NFW density; see `NFWSky` for the two sums."""
    sky = NFWSky.build(pixels.lon_deg, pixels.lat_deg, sun_kpc=SUN_KPC)
    log_integrals = np.log((sky.weight * np.exp(-2.0 * gamma * sky.log_shape)).sum(axis=0))
    return _unit_mean(np.exp(log_integrals @ sky.cardinal)[sky.groups.inverse], pixels)


def disk(pixels: Observation, scale_height_kpc: float, C: float) -> np.ndarray:
    """Line-of-sight integral of the Lorimer disk with B = 0; see `DiskNodes` for the layout."""
    sky = DiskSky.build(pixels.lon_deg, pixels.lat_deg, sun_kpc=SUN_KPC)
    nodes = sky.nodes
    density = nodes.weight * np.exp(-C * nodes.excess - nodes.height / scale_height_kpc)
    lines = np.add.reduceat(density, nodes.block_starts[:-1], axis=0).ravel()
    return _unit_mean(lines[sky.groups.inverse], pixels)


def _unit_mean(values: np.ndarray, pixels: Observation) -> np.ndarray:
    return values / values[: pixels.n_region].mean()
