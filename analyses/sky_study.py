"""What studies of one observed sky and of many simulated ones have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from gammasky.analyses.ensemble.datasets import data_identity
from gammasky.analyses.ensemble.file import beside
from gammasky.distributed.campaign import load_member, read_rows, run_campaign
from gammasky.distributed.member import Member, Resources, Task
from gammasky.distributed.record import Finished
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.settings import MAX_SEED
from gammasky.engine.machine import machine
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import SIMULATORS
from gammasky.engine.sky.dataset import Dataset

ONE_CORE = Resources()
CLIMBS = 2  # how maxima are looked for; raised with every change of it: what was begun otherwise does not go on


@dataclass(frozen=True)
class SkyStudy:
    """A model on an observed sky, and on skies that are simulated from a fit of it.

    Attributes:
        model: a preset's name or a TOML file; data, data_dir: the data set.
        skies: simulated skies.
        simulator: "likelihood" (each pixel on its own) or "photons" (sources on the sphere, PSF).
        seed: of every random number.
    """

    fewest: ClassVar[int] = 1

    model: str = "fiducial"
    data: str = "fermi"
    data_dir: str | None = None
    skies: int = 200
    simulator: str = "likelihood"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.simulator not in SIMULATORS:
            raise unknown_name("simulator", self.simulator, SIMULATORS)
        if isinstance(self.skies, bool) or not isinstance(self.skies, int) or self.skies < self.fewest:
            raise InputError(f"`skies`: expected a whole number of at least {self.fewest}, got {self.skies!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= MAX_SEED // 2:
            raise InputError(f"`seed`: expected a whole number from 0 to {MAX_SEED // 2}, got {self.seed!r}")

    def sky_model(self) -> SkyModel:
        """The model on its data.

        Raises:
            InputError: one that cannot be used.
        """
        return SkyModel(self.model, Dataset.open(self.data, self.data_dir))

    def absolute(self) -> Self:
        """The same with absolute paths: a worker's current folder may be another."""
        given = {name: getattr(self, name) for name in ("model", "data", "data_dir")}
        paths: dict[str, Any] = {name: file and beside(Path.cwd(), file) for name, file in given.items()}
        return replace(self, **paths)

    def identity(self, model: SkyModel) -> dict[str, Any]:
        """List what the study depends on, the number of skies apart."""
        return {
            "model": hashlib.sha256(model.spec.model_dump_json().encode()).hexdigest(),
            "data": data_identity(model.dataset, model.spec),
            "simulator": self.simulator,
            "seed": self.seed,
            "climbs": CLIMBS,
        }


class SkyTask:
    """Base of the tasks of one sky, which keep the model and its compiled programs for the next in `_kept`."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}  # what is kept is made anew in another process

    def about(self, resources: Resources) -> dict[str, str]:
        """The software and the device of this process.

        Raises:
            InputError: a GPU was asked for, and there is none here.
        """
        return machine(resources.gpus)

    def structure(self, spec: dict[str, Any]) -> str:
        """All skies are of one model, and may be fitted side by side."""
        del spec
        return ""


def run_skies(
    folder: Path,
    task: Task,
    specs: Sequence[dict[str, Any]],
    runner: Runner,
    *,
    cost: float,
    manifest: dict[str, Any],
    resources: Resources = ONE_CORE,
    **options: Any,
) -> list[Finished]:
    """Do the task for every sky that has no result in the folder yet, and read the results of all.

    Args:
        folder: of the campaign.
        task: of each sky; specs: what it is for, `sky` being its number in a group whose other labels are texts.
        runner: where they run; resources: of each of them.
        cost: time that one may take on one core [s], which a limit of its time follows from.
        manifest: what all of them depend on, and part of the identity of each.
        options: `keep_going`, `allow_mixed` and `quiet`, as of `run_campaign`.

    Raises:
        InputError: skies that failed; another study in the folder.
    """
    members = [
        Member(" ".join(f"{name} {value}" for name, value in spec.items()), {**manifest, **spec},
               {name: str(value) for name, value in spec.items()}, cost)
        for spec in specs
    ]  # fmt: skip
    tally = run_campaign(
        folder, task, members, resources, runner,
        manifest=manifest, grow=True, retry_failed=True, again="the same command goes on from there", **options,
    )  # fmt: skip
    if tally.failed:
        asked = {member.name for member in members}
        first = next(row for row in read_rows(folder) if row["state"] == "failed" and row["name"] in asked)
        raise InputError(
            f"{first['name']}: {first['error']} ({tally.failed} of {tally.total} skies failed, see "
            f"{folder / 'failed'}); the same command tries those again"
        )
    return [load_member(folder, Store.key(member.spec)) for member in members]


def require_finite(statistics: Mapping[str, ArrayLike]) -> None:
    """Refuse test statistics that are not finite: NaN is neither larger nor smaller, and p would be wrong, silently.

    Args:
        statistics: by what they are of.

    Raises:
        InputError: says how many there are, and of what.
    """
    for of, values in statistics.items():
        finite = np.isfinite(np.asarray(values, dtype=np.float64))
        if not finite.all():
            raise InputError(
                f"test statistics of the {of}: expected finite numbers, {finite.size - finite.sum()} of {finite.size} "
                "are not: the likelihood does not exist where it would be highest; narrow the priors"
            )
