"""What a data set shows of itself in Python: one line, a card in a notebook, maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from gammasky.engine.card import as_picture, card
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.sky.maps import NOT_OBSERVED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gammasky.engine.sky.manifest import Manifest
    from gammasky.engine.sky.pixels import Pixels


class Maps(Protocol):
    """What is shown: a `Dataset`."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def pixels(self) -> Pixels: ...

    @property
    def counts(self) -> np.ndarray: ...

    @property
    def exposure(self) -> np.ndarray: ...

    @property
    def notes(self) -> list[str]: ...

    @property
    def name(self) -> str: ...

    @property
    def energy_edges_gev(self) -> np.ndarray: ...

    @property
    def template_names(self) -> list[str]: ...

    @property
    def mask_names(self) -> list[str]: ...

    def template(self, name: str) -> np.ndarray: ...

    def template_unit(self, name: str) -> str: ...


def facts(dataset: Maps) -> dict[str, str]:
    """What it is, in a few words each."""
    edges, seen = dataset.energy_edges_gev, dataset.counts != NOT_OBSERVED
    exposed = dataset.exposure[np.isfinite(dataset.exposure) & (dataset.exposure > 0)]
    bins = "1 energy bin" if len(edges) == 2 else f"{len(edges) - 1} energy bins"
    return {
        "photons": f"{int(dataset.counts[seen].sum()):,} photons",
        "pixels": dataset.pixels.name,
        "energies": f"{bins}, {edges[0]:g} to {edges[-1]:g} GeV",
        "exposure": f"mean exposure {exposed.mean():.3g} cm2 s" if exposed.size else "no exposure",
    }


def html(dataset: Maps) -> str:
    """Facts, names of what it holds, and its counts."""
    held = {
        "templates": dataset.template_names,
        "masks": dataset.mask_names,
        "catalogues": sorted(dataset.manifest.sources),
    }
    names = {what: ", ".join(found) or "none" for what, found in held.items()}
    understood = {"understood": "; ".join(dataset.notes)} if dataset.notes else {}
    return card(
        dataset.name, dataset.manifest.description, facts(dataset) | names | understood, figure=plot(dataset, "counts")
    )


def plot(dataset: Maps, what: str, energy_bin: int | None = None) -> Figure:
    """See `Dataset.plot`."""
    from gammasky.engine.sky import sky_map

    bins, known = len(dataset.counts), ["counts", "exposure", *dataset.template_names]
    if what not in known:
        raise unknown_name("map", what, known)
    if energy_bin is not None and not 0 <= energy_bin < bins:
        raise InputError(f"plot: energy_bin must be from 0 to {bins - 1}, got {energy_bin}")
    if what == "counts":
        counts = dataset.counts if energy_bin is None else dataset.counts[[energy_bin]]
        sky, unit = np.where((counts == NOT_OBSERVED).any(axis=0), np.nan, counts.sum(axis=0)), "counts"
    elif what == "exposure":
        sky, unit = dataset.exposure[energy_bin or 0], "cm2 s"
    else:
        sky, unit = dataset.template(what)[energy_bin or 0], dataset.template_unit(what)
    return as_picture(sky_map.draw(sky, dataset.pixels, f"{dataset.name}: {what}", unit))
