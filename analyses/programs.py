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
from collections.abc import Hashable
from typing import Any

import jax

from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel

MOST_KEPT = 4  # structures; each holds about 150 MB of programs of the fiducial model

_shelf: dict[str, dict[Hashable, Any]] = {}


def share_programs(model: SkyModel, settings: Settings) -> None:
    """Give a model the programs of an earlier one of the same structure.

    Once there are programs of MOST_KEPT structures all are dropped, with JAX's own caches: those never forget a part of
    what was compiled, and a worker that has seen hundreds of structures would run out of memory.
    """
    key = structure(model, settings)
    if key not in _shelf and len(_shelf) >= MOST_KEPT:
        _shelf.clear()
        jax.clear_caches()
        _return_memory()
    # `with_counts` shares them in the same way, between models of one spec
    model.programs = _shelf.setdefault(key, model.programs)


def _return_memory() -> None:
    """Give what is free back to the system: glibc keeps what compilation has left in pieces, hundreds of megabytes."""
    gc.collect()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def structure(model: SkyModel, settings: Settings) -> str:
    """Digest of all that compiled programs of a fit hold as constants."""
    spec = model.spec.model_dump(mode="json")
    # the coordinates of an amplitude hold what its population's counts are at the centre of the priors
    if all(component.amplitude is None for component in model.spec.components):
        spec["parameters"] = {
            name: [prior.prior, prior.support() == (0.0, 1.0)] for name, prior in model.spec.parameters.items()
        }
    kept = {name: spec[name] for name in ("source_grid", "parameters", "components", "terms")}
    shape = {**settings.resolved(), "seed": 0}
    pixels = model.pixels
    text = json.dumps([kept, shape, pixels.nside, pixels.n_fit, pixels.n_region, model.backend])
    digest = hashlib.sha256(text.encode())
    for part in (pixels.index, pixels.region, pixels.exposure_ratios):
        digest.update(part.tobytes())
    return digest.hexdigest()
