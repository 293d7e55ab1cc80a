"""Reads what a fit left in its folder; that needs neither its data nor its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import BIN_FLUX, FIELD_SD, FLUX, LUMINOSITY, POINT_SOURCE_FRACTION
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.outputs import CHECKPOINT, POSTERIOR, SUMMARY, TRACE
from gammasky.engine.infer.posterior import read_posterior
from gammasky.engine.model.parameters import block_parameters
from gammasky.engine.model.spec import ModelSpec

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

Floats = NDArray[np.float64]
TABLES = ("parameters", FLUX, POINT_SOURCE_FRACTION, "fit", "data_sha256", "versions")  # of every summary


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a report needs of a posterior file.

    Attributes:
        path: the file.
        spec: the model that was fitted.
        draws: parameters by name (n,) or (n, elements), "flux" (n, components), "point_source_fraction" (n, groups),
            "field_sd" (n, fields), "luminosity" (n, numbers).
        elements: names of the elements of each of these, () for a scalar.
        attributes: of the file's root, JSON read.
        counts (P,): photons in the fitted pixels.
        pixels: "healpix", "lon", "lat", "region", ... of these (P,).
        dnds: source-count functions (k, S) of each population [sources per pixel per count], of the draws
            `source_draws` (k,), on a grid of fluxes dN/dF; true_dnds: the same (S,) of the truth of simulated counts,
            where it is known.
        bin_fluxes (n, components, E): mean counts per pixel in each of several energy bins; None with one.
        fields: what the draws say of the fields on templates; None without fields.
        prior: draws (m,) from the prior of each derived number, by its name in `columns`; of a file of an older version
            none.
    """

    path: Path
    spec: ModelSpec
    draws: dict[str, Floats]
    elements: dict[str, tuple[str, ...]]
    attributes: dict[str, Any]
    counts: NDArray[np.int64]
    pixels: Dataset
    dnds: dict[str, Floats]
    source_draws: NDArray[np.int64]
    true_dnds: dict[str, Floats] | None
    bin_fluxes: Floats | None = None
    fields: Dataset | None = None
    prior: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def n_draws(self) -> int:
        """Number of draws, over all chains."""
        return len(next(iter(self.draws.values())))

    def columns(self) -> dict[str, Floats]:
        """Draws (n,) of every single number: elements of a vector as name[element], but for blocks."""
        found: dict[str, Floats] = {}
        blocks = block_parameters(self.spec)
        for name, draws in self.draws.items():
            if name in blocks:
                continue
            found |= _columns(name, draws, self.elements[name])
        return found


def _columns(name: str, draws: Floats, labels: tuple[str, ...]) -> dict[str, Floats]:
    """Draws (n,) of the elements of a variable, as name[element]; of one without labels, as its name."""
    names = [f"{name}[{label}]" for label in labels] or [name]
    return dict(zip(names, draws.reshape(len(draws), len(names)).T, strict=True))


@dataclass(frozen=True, eq=False)
class FitFolder:
    """A finished fit: its posterior, its summary, its figures by name and the ELBO (steps,)."""

    folder: Path
    posterior: Posterior
    summary: dict[str, Any]
    figures: dict[str, bytes]
    trace: Floats

    @property
    def method(self) -> str:
        """The name of the method; "" where the fit does not say."""
        return str(self.summary["fit"].get("method") or (self.entry("diagnostics") or {}).get("method") or "")

    @property
    def settings(self) -> dict[str, Any]:
        """The entries of "fit" in the summary, without the settings that only other methods read."""
        if self.method not in METHODS:
            return dict(self.summary["fit"])
        unread = {name for method in METHODS.values() for name in method.options} - {*METHODS[self.method].options}
        return {name: value for name, value in self.summary["fit"].items() if name not in unread}

    def entry(self, name: str) -> Any:
        """An optional entry, from the summary or else from the posterior file's root; None where neither has it."""
        return self.summary.get(name, self.posterior.attributes.get(name))


def read_fit(folder: Path) -> FitFolder:
    """Read the fit in `folder`.

    Raises:
        InputError: no such folder, no finished fit in it, a damaged file, or files of different fits.
    """
    path = _posterior_path(folder)
    posterior = read_fit_posterior(path)
    summary = _read_summary(folder / SUMMARY)
    _require_one_fit(posterior, summary, folder)
    figures = {file.stem: file.read_bytes() for file in sorted((folder / "figures").glob("*.png"))}
    return FitFolder(folder, posterior, summary, figures, _read_trace(folder / TRACE))


def read_fit_posterior(path: Path) -> Posterior:
    """Read the posterior in a folder or file.

    Raises:
        InputError: see `read_fit`.
    """
    path = _posterior_path(path) if path.is_dir() or path.suffix != ".nc" else path
    tree = read_posterior(path)
    if "predictions" not in tree.children:
        raise InputError(f"{path}: written by an older version, without predictions of the model; run the fit again")
    attributes = {str(name): _decoded(value) for name, value in tree.attrs.items()}
    try:
        spec = ModelSpec.model_validate_json(str(tree.attrs.get("model")))
    except ValidationError:
        raise InputError(f"{path}: holds no model that this version can read; run the fit again") from None
    of_derived = [kind for kind in (FLUX, POINT_SOURCE_FRACTION, FIELD_SD, LUMINOSITY) if kind in tree["posterior"]]
    names = [*spec.parameters, *dict.fromkeys((FLUX, *of_derived))]
    try:
        draws = {name: _draws(tree, name) for name in names}
        elements = {name: _elements(tree, name) for name in names}
        counts, pixels = tree["observed_data"].to_dataset()["counts"].values, tree["constant_data"].to_dataset()
        sources = _source_counts(tree["predictions"].to_dataset(), spec)
        by_bin = _draws(tree, BIN_FLUX) if BIN_FLUX in tree["posterior"] else None
    except KeyError as error:
        raise InputError(f"{path}: damaged, has no {str(error.args[0])[:60]!r}; run the fit again") from None
    if not len(draws[FLUX]) or not all(np.isfinite(values).all() for values in draws.values()):
        raise InputError(f"{path}: holds no draws, or draws that are not finite; run the fit again")
    predictions = tree["predictions"].to_dataset()
    fields = predictions if "field_mean" in predictions else None
    prior = _prior(tree) if "prior" in tree.children else {}
    return Posterior(path, spec, draws, elements, attributes, counts, pixels, *sources, by_bin, fields, prior)


def _prior(tree: DataTree) -> dict[str, Floats]:
    """Draws from the prior of each derived number."""
    found: dict[str, Floats] = {}
    for kind in tree["prior"].to_dataset().data_vars:
        found |= _columns(str(kind), _draws(tree, str(kind), "prior"), _elements(tree, str(kind), "prior"))
    return found


def _source_counts(
    predictions: Dataset, spec: ModelSpec
) -> tuple[dict[str, Floats], NDArray[np.int64], dict[str, Floats] | None]:
    """Source-count functions by population, the numbers of their draws, and those of the truth."""
    if not spec.populations:
        return {}, np.zeros(0, dtype=np.int64), None
    values, names = predictions["dnds"].values.astype(np.float64), predictions["population"].values
    found = {str(name): values[:, number] for number, name in enumerate(names)}
    truth = predictions["true_dnds"].values if "true_dnds" in predictions else None
    known = None if truth is None else {str(name): truth[number] for number, name in enumerate(names)}
    return found, predictions["draw_number"].values, known


def _posterior_path(folder: Path) -> Path:
    """posterior.nc of a folder that holds a finished fit."""
    if not folder.exists():
        raise InputError(f"{folder}: no such folder; expected the folder of a fit")
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the folder of a fit, got a file")
    if not (folder / POSTERIOR).is_file():
        if (folder / CHECKPOINT).is_file():
            raise InputError(f"{folder}: holds an unfinished fit; resume it first")
        raise InputError(f"{folder}: holds no {POSTERIOR}; expected the folder of a fit")
    return folder / POSTERIOR


def _draws(tree: DataTree, name: str, group: str = "posterior") -> Floats:
    """Draws of all chains (n, ...)."""
    values = np.asarray(tree[group][name].values, dtype=np.float64)
    return values.reshape(-1, *values.shape[2:])


def _elements(tree: DataTree, name: str, group: str = "posterior") -> tuple[str, ...]:
    variable = tree[group].to_dataset()[name]
    return tuple(str(label) for label in variable[variable.dims[2]].values) if variable.ndim > 2 else ()


def _decoded(value: Any) -> Any:
    """An attribute as it was before `write_posterior` made it JSON; plain Python numbers."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and (value[:1] in ("{", "[") or value in ("true", "false", "null")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the summary of the fit: run it again")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not JSON, or damaged; run the fit again") from None
    wrong = [name for name in TABLES if not isinstance(summary, dict) or not isinstance(summary.get(name), dict)]
    wrong += [name for name in ("model_name", "dataset") if not wrong and not isinstance(summary.get(name), str)]
    wrong += [
        name for name in ("verdict", "diagnostics") if not wrong and not isinstance(summary.get(name), dict | None)
    ]
    numbers = () if wrong else (summary[name] for name in TABLES[:3])
    wrong += [name for entries in numbers for name, entry in entries.items() if not isinstance(entry, dict)]
    if wrong:
        raise InputError(f"{path}: damaged, expected a table '{wrong[0]}'; run the fit again")
    return summary


def _require_one_fit(posterior: Posterior, summary: Mapping[str, Any], folder: Path) -> None:
    """Refuse a summary and a posterior of different fits."""
    pairs = {name: (summary[name], posterior.attributes.get(name)) for name in ("model_name", "dataset", "data_sha256")}
    pairs |= {name: (summary["fit"].get(name), posterior.attributes.get(name)) for name in ("elbo", "seed", "guide")}
    pairs["draws"] = (summary.get("draws"), posterior.n_draws)
    for name, (of_summary, of_posterior) in pairs.items():
        if of_summary is None or of_posterior is None:
            continue  # one of them does not say; numbers that are not finite are null in a summary
        if of_summary != of_posterior:
            what = f"{name} differs" if isinstance(of_summary, dict) else f"{name} {of_summary} and {of_posterior}"
            raise InputError(f"{folder}: {SUMMARY} and {POSTERIOR} are of different fits ({what}); run the fit again")


def _read_trace(path: Path) -> Floats:
    """ELBO (steps,), empty where the fit left none."""
    if not path.is_file():
        return np.zeros(0)
    try:
        return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, 1] if path.stat().st_size > 12 else np.zeros(0)
    except (ValueError, IndexError):
        raise InputError(f"{path}: not a table of step and ELBO, or damaged; run the fit again") from None
