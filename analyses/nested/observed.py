"""The maxima on the observed sky, which a test begins with and keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.analyses.nested.study import NestedStudy
from gammasky.distributed.manifest import difference
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.maximum.climbs import SAME_HEIGHT, Maximum
from gammasky.engine.infer.maximum.compare import Comparison, compare
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.model import SkyModel

OBSERVED = "observed.json"
ROUNDS = 3  # comparisons, from other starts each


def known(study: NestedStudy, model: SkyModel, null: Null, folder: Path) -> Comparison | None:
    """The maxima on the observed sky that the folder holds, if it holds any.

    Raises:
        InputError: the folder holds another test, or its file is damaged.
    """
    about = json.loads(json.dumps(study.about(model, null)))
    return _read(folder / OBSERVED, folder, about) if (folder / OBSERVED).is_file() else None


def climbed(study: NestedStudy, model: SkyModel, null: Null, folder: Path) -> Comparison:
    """Find the maxima on the observed sky, and keep them in the folder.

    Raises:
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
    """
    found = [
        compare(model, null.plane, null.full, study.seed + number, loose=null.loose_axes) for number in range(ROUNDS)
    ]
    best = Comparison(*(_best([getattr(one, part) for one in found]) for part in ("null", "full")))
    about = study.about(model, null)
    content = {"identity": about, "null": _plain(best.null), "full": _plain(best.full)}
    write_text(folder / OBSERVED, json.dumps(content, indent=2) + "\n")
    return best


def _best(maxima: Sequence[Maximum]) -> Maximum:
    """The highest of maxima in one plane, with the climbs of all."""
    best = max(maxima, key=lambda maximum: maximum.log_likelihood)
    as_high = [one for one in maxima if one.log_likelihood > best.log_likelihood - SAME_HEIGHT]
    starts, reached = sum(one.n_starts for one in maxima), sum(one.n_reached for one in as_high)
    return replace(best, n_starts=starts, n_reached=reached)


def _plain(maximum: Maximum) -> dict[str, Any]:
    return {**asdict(maximum), "y": maximum.y.tolist(), "x": maximum.x.tolist()}


def _read(path: Path, folder: Path, about: dict[str, Any]) -> Comparison:
    """The maxima of a file.

    Raises:
        InputError: it is of another test, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [
            Maximum(**{**content[part], "x": np.array(content[part]["x"]), "y": np.array(content[part]["y"])})
            for part in ("null", "full")
        ]
        before = content["identity"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; remove it, or choose another folder") from None
    if before != about:
        what = difference(before, about)
        raise InputError(f"`out` {folder}: holds another test: {what}; choose another folder")
    return Comparison(*parts)
