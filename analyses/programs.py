"""Compiled programs that members share: those of one structure compile once in each process.

Programs take data and the numbers of priors as arguments. What they hold as constants is the structure: components,
templates and fixed numbers of the model, the kinds of its priors, the pixels' places, the settings of the fit.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import platform
import sys
import threading
from typing import Any

import jax

from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import ModelSpec, SkyModel
from gammasky.engine.model.parameters import block_parameters
from gammasky.engine.model.programs import Programs

MOST_KEPT = 4  # structures; each holds about 150 MB of programs of the fiducial model

_shelf: dict[str, Programs] = {}
_lock = threading.Lock()


def share_programs(model: SkyModel, settings: Settings, lanes: int = 1) -> None:
    """Give a model the programs of an earlier one of the same structure.

    Once there are programs of MOST_KEPT structures all are dropped, with JAX's own caches: those never forget a part of
    what was compiled, and a worker that has seen hundreds of structures would run out of memory.

    Args:
        lanes: models that may be fitted side by side in this process. On a GPU, which one of them does not fill, what
            they ask is gathered. On a CPU it is not: cores that members share are busy anyway, and there each finds, to
            the last bit, what it finds alone.
    """
    key, width = structure(model, settings), lanes if model.backend == "cuda" else 1
    with _lock:
        if key not in _shelf and len(_shelf) >= MOST_KEPT:
            _shelf.clear()
            jax.clear_caches()
            _return_memory()
        if key not in _shelf or _shelf[key].width != width:
            # `with_counts` shares them in the same way, between models of one spec
            _shelf[key] = model.programs if model.programs.width == width else Programs(width)
        programs = _shelf[key]
    model.share(programs)


def _return_memory() -> None:
    """Give what is free back to the system: glibc keeps what compilation has left in pieces, hundreds of megabytes."""
    gc.collect()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def structure(model: SkyModel, settings: Settings) -> str:
    """Digest of all that compiled programs of a fit hold as constants."""
    pixels = model.pixels
    shape = [pixels.grid.key, pixels.n_fit, pixels.n_region, model.backend]
    digest = hashlib.sha256(json.dumps([*_constants(model.spec, settings), *shape]).encode())
    for part in (pixels.index, pixels.region, pixels.exposure_ratios):
        digest.update(part.tobytes())
    if model.spec.source_grid.in_flux or pixels.n_energy > 1:  # spectra are integrated, and fluxes become counts
        for part in (pixels.energy_edges_gev, pixels.reference_exposure, pixels.mean_exposure):
            digest.update(part.tobytes())
    return digest.hexdigest()


def structure_of(spec: ModelSpec, settings: Settings) -> str:
    """Digest of what a description alone says of that; on one data set, those of one digest share programs."""
    text = json.dumps([*_constants(spec, settings), spec.model_dump(mode="json")["region"]])
    return hashlib.sha256(text.encode()).hexdigest()


def _constants(spec: ModelSpec, settings: Settings) -> list[Any]:
    table = spec.model_dump(mode="json")
    # at the centre of the priors: the coordinates of an amplitude hold what its population's counts are, those of a
    # field how much its modes can be, and the likelihood of several bins at which nodes of S those of the fluxes are
    with_amplitude = any(component.amplitude is not None for component in spec.components)
    if not (with_amplitude or spec.source_grid.in_flux or block_parameters(spec)):
        table["parameters"] = {
            name: [prior.prior, prior.support() == (0.0, 1.0)] for name, prior in spec.parameters.items()
        }
    kept = {name: table[name] for name in ("source_grid", "parameters", "components", "terms")}
    return [kept, {**settings.resolved(), "seed": 0}]
