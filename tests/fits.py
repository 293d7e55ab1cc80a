"""Fits that are made of given draws, for tests of what is done with a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.files import write_json
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.posterior import write_posterior
from gammasky.engine.infer.summary import summarise
from gammasky.engine.model import SkyModel


def posterior_of(path: Path, model: SkyModel, n: int = 30, width: float = 0.1, **more: Any) -> Path:
    """A posterior file of n draws, normal in the latent space, all of one density."""
    z = width * np.random.default_rng(1).normal(size=(n, model.n_latent))
    return file_of(path, model, z, **more)


def file_of(path: Path, model: SkyModel, z: np.ndarray, **more: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    zeros = np.zeros(len(z))
    write_posterior(path, model, z, log_likelihood=zeros, log_guide=zeros, **{"attributes": {}, **more})
    return path


def fit_of(folder: Path, model: SkyModel, z: np.ndarray, info: dict[str, Any], **summary: Any) -> Path:
    """A folder with the posterior and the summary of draws z (n, D); `summary` has more of its entries."""
    derived = derive(model, z)
    file_of(folder / "posterior.nc", model, z, attributes=info, derived=derived)
    write_json(folder / "summary.json", {**summarise(model, derived, info), **summary})
    return folder
