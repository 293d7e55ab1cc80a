"""What a test of a nested model is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.datasets import data_identity
from gammasky.analyses.ensemble.file import beside
from gammasky.analyses.nested.statistics import require_enough
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.maximum.null import Null, read_null
from gammasky.engine.infer.settings import MAX_SEED
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import SIMULATORS
from gammasky.engine.sky.dataset import Dataset


@dataclass(frozen=True)
class NestedStudy:
    """A model against one that is nested in it.

    Attributes:
        model: a preset's name or a TOML file; data, data_dir: the data set.
        null: conditions that hold together: "S_gce = 0", "f_bulge_ps = f_bulge_poiss", "without gce_ps".
        skies: simulated skies of the null.
        simulator: "likelihood" (each pixel on its own) or "photons" (sources on the sphere, PSF).
        seed: of every random number.
        smallest_p: the smallest p-value that the skies must be able to give; None: whatever they can.
    """

    model: str = "fiducial"
    data: str = "fermi"
    data_dir: str | None = None
    null: tuple[str, ...] = ()
    skies: int = 200
    simulator: str = "likelihood"
    seed: int = 0
    smallest_p: float | None = None

    def __post_init__(self) -> None:
        given: Sequence[str] | str = self.null
        object.__setattr__(self, "null", (given,) if isinstance(given, str) else tuple(given))
        if self.simulator not in SIMULATORS:
            raise unknown_name("simulator", self.simulator, SIMULATORS)
        if isinstance(self.skies, bool) or not isinstance(self.skies, int) or self.skies < 1:
            raise InputError(f"skies: expected a whole number of at least 1, got {self.skies!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= MAX_SEED - self.skies:
            raise InputError(f"seed: expected a whole number from 0 to {MAX_SEED - self.skies}, got {self.seed!r}")
        require_enough(self.skies, self.smallest_p)

    def opened(self) -> tuple[SkyModel, Null]:
        """The model on its data, and the null.

        Raises:
            InputError: one that cannot be used.
        """
        model = SkyModel(self.model, Dataset.open(self.data, self.data_dir))
        return model, read_null(self.null, model)

    def absolute(self) -> NestedStudy:
        """The same with absolute paths: a worker's current folder may be another."""
        given = {name: getattr(self, name) for name in ("model", "data", "data_dir")}
        paths: dict[str, Any] = {name: file and beside(Path.cwd(), file) for name, file in given.items()}
        return replace(self, **paths)

    def identity(self, model: SkyModel, null: Null) -> dict[str, Any]:
        """List what the test depends on, the number of skies apart."""
        return {
            "model": hashlib.sha256(model.spec.model_dump_json().encode()).hexdigest(),
            "data": data_identity(model.dataset, model.spec),
            "null": list(null.texts),
            "simulator": self.simulator,
            "seed": self.seed,
        }
