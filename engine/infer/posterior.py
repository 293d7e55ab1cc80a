"""`posterior.nc`: draws of a fit with units, model, data checksums and versions, in the ArviZ schema."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing
from gammasky.engine.infer.derived import (
    BIN_FLUX,
    FIELD_SD,
    FLUX,
    LUMINOSITY,
    POINT_SOURCE_FRACTION,
    Predictions,
    derive,
    predict,
)
from gammasky.engine.infer.fitted_guide import FittedGuide, guide_group
from gammasky.engine.infer.posterior_groups import (
    constant_data_group,
    observed_data_group,
    posterior_group,
    predictions_group,
    prior_group,
    sample_stats_group,
)
from gammasky.engine.model import ModelSpec, SkyModel

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

LIBRARY = "gammasky"
PACKAGES = (LIBRARY, "jax", "numpyro", "numpy")
DIMENSIONS = ("chain", "draw", "component", "group", "energy", "latent", "field", "source_number")
CITATIONS = (
    Citation(
        "posterior files and their diagnostics",
        r"""
        @article{Kumar2019,
          author  = {Kumar, Ravin and Carroll, Colin and Hartikainen, Ari and Martin, Osvaldo},
          title   = {{ArviZ} a unified library for exploratory analysis of {Bayesian} models in {Python}},
          journal = {Journal of Open Source Software},
          volume  = {4},
          number  = {33},
          pages   = {1143},
          year    = {2019}
        }
        """,
    ),
)
RESERVED = (*DIMENSIONS, FLUX, BIN_FLUX, FIELD_SD, LUMINOSITY, POINT_SOURCE_FRACTION, "z")


def check_parameter_names(spec: ModelSpec) -> None:
    """Refuse names that a posterior file cannot hold; call it before a fit starts.

    Raises:
        InputError: a parameter called like a dimension or a derived number, or with a slash in its name.
    """
    for name in spec.parameters:
        if name in RESERVED:
            raise InputError(f"parameter '{name}': this name stands for something else in posterior files; rename it")
        if "/" in name or not name:
            raise InputError(f"parameter '{name}': posterior files allow no empty name and no '/'; rename it")


def write_posterior(
    path: Path | str,
    model: SkyModel,
    z: np.ndarray,
    *,
    log_likelihood: np.ndarray,
    log_guide: np.ndarray | None,
    attributes: Mapping[str, Any],
    derived: Mapping[str, np.ndarray] | None = None,
    chains: int = 1,
    predictions: Predictions | None = None,
    guide: FittedGuide | None = None,
) -> None:
    """Write the draws as NetCDF, whole or not at all.

    Groups: `posterior` (every parameter, `flux`, `point_source_fraction`, `z`; dimensions chain, draw, and
    `<parameter>_element` with the names of the elements), `prior` (draws from the prior of the fluxes and of the
    derived numbers that results are quoted with, such as `point_source_fraction`), `sample_stats` (lp, the log density
    on the latent space; log_likelihood; log_guide where there is one), `predictions` (expected counts of each component
    in the pixels of the region, and dN/dS of some of the draws), `observed_data` (counts), `constant_data` (the
    fitted pixels and exposure regions) and, of a variational fit, `guide` (its parameters; see `FittedGuide`).

    Args:
        path: the file.
        model: the model.
        z (n, D): draws on the latent space.
        log_likelihood (n,): log-likelihood of all pixels, of each draw.
        log_guide (n,): log density of the guide on the latent space, of each draw; None for draws of no guide.
        attributes: about the fit (guide, seed, steps, ...); numbers and text are kept, anything else becomes JSON.
        derived: what `derive(model, z)` gave, where it is known already.
        chains: the draws are those of so many chains, one after another.
        predictions: what `predict` gave, where it is known already.
        guide: of a variational fit, which the draws came from.

    Raises:
        InputError: a parameter name that the file cannot hold.
        OSError: what the file system refused; an older file is then still whole.
    """
    tree = posterior_tree(
        model, z, log_likelihood=log_likelihood, log_guide=log_guide, attributes=attributes, derived=derived,
        chains=chains, predictions=predictions, guide=guide,
    )  # fmt: skip
    packed = {"/predictions": {"dnds": {"zlib": True, "complevel": 4}}} if model.spec.populations else None
    content = tree.to_netcdf(
        engine="h5netcdf", encoding=packed
    )  # in memory: a full disk is then an OSError like any other
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def posterior_tree(
    model: SkyModel,
    z: np.ndarray,
    *,
    log_likelihood: np.ndarray,
    log_guide: np.ndarray | None,
    attributes: Mapping[str, Any],
    derived: Mapping[str, np.ndarray] | None = None,
    chains: int = 1,
    predictions: Predictions | None = None,
    guide: FittedGuide | None = None,
) -> DataTree:
    """Lay the draws out as `write_posterior` writes them; the arguments are the same."""
    import xarray

    check_parameter_names(model.spec)
    derived = derive(model, z) if derived is None else derived
    predictions = predict(model, z, derived) if predictions is None else predictions
    kept = {} if guide is None else {"guide": guide_group(guide)}
    return xarray.DataTree.from_dict(
        {
            "/": xarray.Dataset(attrs={**_attributes(attributes), **_attributes(_root(model))}),
            "posterior": posterior_group(model, z, derived, chains),
            "prior": prior_group(model),
            "sample_stats": sample_stats_group(z, log_likelihood, log_guide, chains),
            "predictions": predictions_group(model, predictions),
            "observed_data": observed_data_group(model),
            "constant_data": constant_data_group(model),
            **kept,
        }
    )


def read_posterior(path: Path | str) -> DataTree:
    """The posterior file as an xarray.DataTree, read whole.

    Raises:
        InputError: no such file, a damaged one, or one that was not written by `write_posterior`.
    """
    import xarray

    if not Path(path).is_file():
        raise InputError(f"{path}: no such posterior file; expected the posterior.nc of a fit")
    try:
        with xarray.open_datatree(path, engine="h5netcdf") as tree:
            tree.load()
    except (OSError, ValueError, KeyError, RuntimeError):  # HDF5 has all of these for bytes that make no sense
        raise InputError(f"{path}: not a NetCDF file, or damaged; run the fit again") from None
    if tree.attrs.get("inference_library") != LIBRARY or "posterior" not in tree.children:
        raise InputError(f"{path}: not a posterior file of {LIBRARY}; expected the posterior.nc of a fit")
    return tree


def add_group(path: Path | str, name: str, group: Dataset, attributes: Mapping[str, Any]) -> None:
    """Add a group to a posterior file, or replace it; whole or not at all.

    Args:
        path: of the file.
        name: of the group.
        group: what it holds.
        attributes: of the group; numbers and text are kept, anything else becomes JSON.

    Raises:
        InputError: as of `read_posterior`.
        OSError: what the file system refused; the older file is then still whole.
    """
    import xarray

    tree = read_posterior(path)
    tree[name] = xarray.DataTree(group.assign_attrs(_attributes(attributes)))
    content = tree.to_netcdf(engine="h5netcdf")
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_posterior_of(path: Path | str, model: SkyModel) -> DataTree:
    """The posterior file of this very model on these very data.

    Raises:
        InputError: as of `read_posterior`; of another model, or of other data (says what differs).
    """
    tree = read_posterior(path)
    if tree.attrs.get("model") != model.spec.model_dump_json():
        raise InputError(
            f"{path}: posterior of another model ('{tree.attrs.get('model_name')}'), expected one of "
            f"'{model.spec.name}' as it is now; fit it again"
        )
    theirs, ours = json.loads(str(tree.attrs.get("identity", "{}"))), model.identity
    different = [what for what in ours if theirs.get(what) != ours[what]]
    if different:
        known = json.loads(str(tree.attrs.get("data_sha256", "{}")))
        files = [name for name, sha256 in model.checksums.items() if known.get(name) != sha256]
        told = f" (SHA-256 of {files[0]})" if files else ""
        raise InputError(
            f"{path}: posterior of other data than '{model.dataset.name}': another {' and another '.join(different)}"
            f"{told}; give the data that it was fitted to"
        )
    return tree


def provenance(model: SkyModel) -> dict[str, Any]:
    """List what a result rests on: model, data set, digests of contents, SHA-256 of the data files, versions."""
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "model_name": model.spec.name,
        "dataset": model.dataset.name,
        "identity": model.identity,
        "data_sha256": model.checksums,
        "versions": {**versions, "python": platform.python_version()},
    }


def _root(model: SkyModel) -> dict[str, Any]:
    return {
        **provenance(model),
        "model": model.spec.model_dump_json(),
        "created_at": datetime.now(UTC).isoformat(),
        "inference_library": LIBRARY,
        "inference_library_version": metadata.version(LIBRARY),
    }


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and text as they are, anything else as JSON: NetCDF knows neither tables nor true and false."""
    kept = (str, int, float, np.integer, np.floating)
    return {
        name: value if isinstance(value, kept) and not isinstance(value, bool) else json.dumps(value)
        for name, value in values.items()
    }
