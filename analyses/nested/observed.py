"""The maxima on the observed sky, which a test begins with and keeps.

Its test statistic is found by the same climbs as that of every simulated sky, of which some begin at what the sky is
drawn from: more of them would find higher maxima of the model here than there, and so too small a p-value. For the same
reason none begins at what other climbs in the model have found: the place of the null's maximum that is handed on has
random values of the parameters that mean nothing under the null, which would keep those of the model's maximum.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.nested.study import NestedStudy
from gammasky.distributed.manifest import difference
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.maximum.climbs import Maximum
from gammasky.engine.infer.maximum.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
OBSERVED = "observed.json"
ROUNDS = 3  # comparisons, from other starts each, which look for the maximum of the null
_ANEW = 4  # stream of random numbers, beside those of `likelihood_ratio`


@dataclass(frozen=True, eq=False)
class Observed:
    """What is known of the observed sky.

    Attributes:
        ratio: the maxima, by the climbs that every simulated sky has.
        higher: log-likelihood [nat] that other climbs in the model have found beyond these.
    """

    ratio: LikelihoodRatio
    higher: float


def known(study: NestedStudy, model: SkyModel, null: Null, folder: Path) -> Observed | None:
    """What the folder holds of the observed sky, if it holds anything.

    Raises:
        InputError: the folder holds another test, or its file is damaged.
    """
    about = json.loads(json.dumps(study.about(model, null)))
    return _read(folder / OBSERVED, folder, about) if (folder / OBSERVED).is_file() else None


def climbed(study: NestedStudy, model: SkyModel, null: Null, folder: Path) -> Observed:
    """Find the maxima on the observed sky, and keep them in the folder.

    Raises:
        NonFiniteLikelihoodError: the likelihood does not exist where it would be highest.
    """

    def compared(seed: int, near: Floats | None = None) -> LikelihoodRatio:
        return likelihood_ratio(model, null.plane, null.full, seed, near=near, loose=null.loose_axes)

    rounds = [compared(study.seed + number) for number in range(1, ROUNDS + 1)]
    near = max((one.null for one in rounds), key=lambda maximum: maximum.log_likelihood).y.copy()
    near[null.loose_axes] = null.plane.random(1, (study.seed, _ANEW))[0, null.loose_axes]
    found = compared(study.seed, near)
    highest = max(one.full.log_likelihood for one in rounds)
    observed = Observed(found, max(highest - found.full.log_likelihood, 0.0))
    about = study.about(model, null)
    content = {"identity": about, "null": _plain(found.null), "full": _plain(found.full), "higher": observed.higher}
    write_text(folder / OBSERVED, json.dumps(content, indent=2) + "\n")
    return observed


def _plain(maximum: Maximum) -> dict[str, Any]:
    return {**asdict(maximum), "y": maximum.y.tolist(), "x": maximum.x.tolist()}


def _read(path: Path, folder: Path, about: dict[str, Any]) -> Observed:
    """What a file says.

    Raises:
        InputError: it is of another test, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [
            Maximum(**{**content[part], "x": np.array(content[part]["x"]), "y": np.array(content[part]["y"])})
            for part in ("null", "full")
        ]
        before, higher = content["identity"], float(content["higher"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; remove it, or choose another folder") from None
    if before != about:
        what = difference(before, about)
        raise InputError(f"`out` {folder}: holds another test: {what}; choose another folder")
    return Observed(LikelihoodRatio(*parts), higher)
