"""The Bayes factor of a model and one that is nested in it, from the evidence of both by the emulator."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gammasky.analyses.nested.study import NestedStudy
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.maximum.nested_model import nested_spec
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel

FOLDER, FILE = "evidence", "evidence.json"


@dataclass(frozen=True)
class BayesFactor:
    """Log evidence of the model and of the null, each with its standard error and the verdict on its fit.

    Attributes:
        ln: ln Z of the model minus ln Z of the null: positive numbers are for the model.
    """

    log_z: float
    log_z_null: float
    error: float
    verdict: str
    verdict_null: str

    @property
    def ln(self) -> float:
        return self.log_z - self.log_z_null

    def plain(self) -> dict[str, Any]:
        """All of it, as plain JSON."""
        return {**asdict(self), "ln": self.ln}

    def text(self) -> str:
        """The factor with its error, and the verdicts."""
        verdicts = self.verdict if self.verdict == self.verdict_null else f"{self.verdict} and {self.verdict_null}"
        return f"{self.ln:+.2f} ± {self.error:.2f} ({verdicts})"


def bayes_factor(study: NestedStudy, model: SkyModel, null: Null, out: Path, *, quiet: bool) -> BayesFactor:
    """The Bayes factor, from two fits by the emulator, or that which the folder holds.

    Raises:
        InputError: the null is no model of its own; a file that is damaged.
    """
    place = out / FOLDER
    if (place / FILE).is_file():
        try:
            return BayesFactor(**json.loads((place / FILE).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise InputError(f"{place / FILE}: damaged; remove it") from None
    nested = SkyModel(nested_spec(model.spec, null), model.dataset)
    found = {}
    for name, one in {"model": model, "null": nested}.items():
        folder = place / name
        folder.mkdir(parents=True, exist_ok=True)
        resume = (folder / CHECKPOINT).is_file()
        found[name] = fit(one, Settings(seed=study.seed), folder=folder, resume=resume, quiet=quiet)
    of_model, of_null = found["model"], found["null"]
    errors = [float(one.diagnostics.get("log_z_error", math.nan)) for one in found.values()]
    factor = BayesFactor(
        float(of_model.diagnostics["log_z"]),
        float(of_null.diagnostics["log_z"]),
        math.hypot(*errors),
        of_model.verdict.level,
        of_null.verdict.level,
    )
    write_text(place / FILE, json.dumps(asdict(factor), indent=2) + "\n")
    return factor
