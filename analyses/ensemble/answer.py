"""What a campaign of fits says, all members together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.ensemble.effects import Effects, main_effects
from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.ensemble.weights import Average, Stack, average, evidence_weights, stacking
from gammasky.distributed.campaign import load_member, read_manifest, read_rows
from gammasky.engine.errors import InputError
from gammasky.engine.infer.importance import RELIABLE_K_HAT

Floats = NDArray[np.float64]
Row = dict[str, Any]
Density = tuple[NDArray[np.int64], Floats]
RELIABLE = "reliable"
SEED = "seed"  # axis whose choices repeat a fit
LARGEST_ERROR = 0.5  # of a log Z that weights can rest on [nat]


@dataclass(frozen=True, eq=False)
class DataGroup:
    """Members that fit the same counts in the same pixels, whose evidences can be compared.

    Attributes:
        labels: axis -> choice, of the axes whose choice is the same for all of them.
        members: names, those with an evidence.
        weights (K,): their posterior probabilities if all are equally likely beforehand.
        log_z (K,): log evidence.
        without: names of members whose method gives no evidence, or whose evidence is not finite.
        doubtful: of the members with a weight above a hundredth, those whose log Z the weights cannot rest on.
        averages: by quantity.
    """

    labels: dict[str, str]
    members: tuple[str, ...]
    weights: Floats
    log_z: Floats
    without: tuple[str, ...]
    doubtful: tuple[str, ...]
    averages: dict[str, Average]


@dataclass(frozen=True, eq=False)
class SkyStack:
    """Stacking of all members on one sky: weights, averages by quantity; `reason` where there is none."""

    sky: str
    members: tuple[str, ...]
    stack: Stack | None
    averages: dict[str, Average]
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """All of it.

    Attributes:
        name: of the ensemble; campaign: its manifest.
        axes: axis -> choices, in order.
        rows: of the members that are done; failed: name -> error; missing: names of members that have not run.
        left_out: names of members that are done and in no average, since their verdict is not *reliable*.
        groups: of members on the same data; stacks: one for each sky.
        equal: averages over all members alike; effects: of every choice, by quantity.
    """

    name: str
    campaign: dict[str, Any]
    axes: dict[str, list[str]]
    rows: list[Row]
    failed: dict[str, str]
    missing: list[str]
    left_out: tuple[str, ...]
    groups: list[DataGroup]
    stacks: list[SkyStack]
    equal: dict[str, Average]
    effects: dict[str, Effects]

    @property
    def quantities(self) -> list[str]:
        """Quantities that any member has."""
        return [name for name in QUANTITIES if any(f"{name}_mean" in row for row in self.rows)]


def read_answer(folder: Path, *, every: bool = False) -> Answer:
    """The answer of a campaign as far as it is done.

    Args:
        folder: of the campaign.
        every: whether members count whose verdict is not *reliable*: in averages, weights and effects.

    Raises:
        InputError: no campaign there, or no member is done yet.
    """
    manifest, rows = read_manifest(folder), read_rows(folder)
    done = [row for row in rows if row["state"] == "done"]
    if not done:
        raise InputError(f"{folder}: no member is done yet; run `gammasky campaign resume {folder}`")
    if any("verdict" not in row for row in done):
        what = "got skies, whose report is written by the command that made them"
        raise InputError(f"{folder}: expected the campaign of an ensemble, {what}")
    finished = {row["name"] for row in rows}
    counted = [row for row in done if every or row.get("verdict") == RELIABLE]
    axes: dict[str, list[str]] = {}
    for member in manifest.members:
        for axis, choice in member.labels.items():
            axes.setdefault(axis, [])
            axes[axis] += [choice] if choice not in axes[axis] else []

    def density(row: Row) -> Density:
        arrays = load_member(folder, row["key"]).arrays
        return arrays["pixel"], arrays["pixel_elpd"]

    return Answer(
        name=str(manifest.campaign.get("name", folder.name)),
        campaign=manifest.campaign,
        axes=axes,
        rows=done,
        failed={row["name"]: str(row.get("error", "")) for row in rows if row["state"] != "done"},
        missing=[member.name for member in manifest.members if member.name not in finished],
        left_out=tuple(row["name"] for row in done if row not in counted),
        groups=data_groups(counted),
        stacks=[_stacked(sky, members, density) for sky, members in by(counted, "sky").items()],
        equal=_averages(counted, np.full(len(counted), 1.0 / max(len(counted), 1))),
        effects=all_effects(counted),
    )


def by(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Rows with the same value of `key`, in order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get(key, "")), []).append(row)
    return groups


def column(rows: Sequence[Row], name: str) -> Floats:
    """A number of each row (K,); NaN where it has none."""
    return np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)


def data_groups(rows: Sequence[Row]) -> list[DataGroup]:
    """The members by data, with evidence weights within each group."""
    return [_data_group(members) for members in by(rows, "data_group").values()]


def _data_group(rows: list[Row]) -> DataGroup:
    known = [row for row in rows if np.isfinite(row.get("log_z", np.nan))]
    log_z = column(known, "log_z")
    weights = evidence_weights(log_z)
    common = {
        axis: choice for axis, choice in rows[0]["labels"].items() if all(r["labels"].get(axis) == choice for r in rows)
    }
    return DataGroup(
        labels=common,
        members=tuple(row["name"] for row in known),
        weights=weights,
        log_z=log_z,
        without=tuple(row["name"] for row in rows if row not in known),
        doubtful=tuple(row["name"] for row, w in zip(known, weights, strict=True) if w > 0.01 and _doubtful(row)),
        averages=_averages(known, weights),
    )


def _doubtful(row: Row) -> bool:
    """Whether a member's log Z is too uncertain for a weight, or nothing says that it can be trusted: neither its
    verdict nor the k-hat of its importance weights. What is unknown or not finite says nothing."""
    trusted = row.get("verdict") == RELIABLE or row.get("k_hat", np.nan) <= RELIABLE_K_HAT
    return not (trusted and row.get("log_z_error", np.nan) < LARGEST_ERROR)


def _averages(rows: Sequence[Row], weights: Floats) -> dict[str, Average]:
    """The mixture of the members' posteriors, by quantity."""
    found = {}
    for name in QUANTITIES:
        have = [number for number, row in enumerate(rows) if f"{name}_mean" in row]
        means, sds = (column([rows[number] for number in have], f"{name}_{key}") for key in ("mean", "sd"))
        found[name] = average(weights[have], means, sds)
    return {name: entry for name, entry in found.items() if entry is not None}


def _stacked(sky: str, rows: list[Row], density: Callable[[Row], Density]) -> SkyStack:
    """Stacking of the members on one sky, on the pixels that all of them fit."""
    names = tuple(row["name"] for row in rows)
    densities = [density(row) for row in rows]
    elpd = on_common_pixels(densities)
    if not elpd.shape[1]:
        return SkyStack(sky, names, None, {}, "no pixel is fitted by all members")
    unknown = [name for name, values in zip(names, elpd, strict=True) if not np.isfinite(values).all()]
    if unknown:
        return SkyStack(sky, names, None, {}, f"the predictive density of {', '.join(unknown)} is not finite")
    found = stacking(elpd)
    return SkyStack(sky, names, found, _averages(rows, found.weights))


def on_common_pixels(densities: Sequence[Density]) -> Floats:
    """Log predictive densities (K, P) in the pixels that every member fits, from (pixel, density) of each."""
    common = np.sort(reduce(np.intersect1d, (pixel for pixel, _ in densities)))
    places = [np.argsort(pixel)[np.searchsorted(np.sort(pixel), common)] for pixel, _ in densities]
    return np.stack([values[place] for (_, values), place in zip(densities, places, strict=True)])


def all_effects(rows: Sequence[Row]) -> dict[str, Effects]:
    """Main effects on every quantity that varies; members that differ in their seed alone are repeats of one fit."""
    labels = [{axis: choice for axis, choice in row["labels"].items() if axis != SEED} for row in rows]
    found = {
        name: main_effects(labels, column(rows, f"{name}_mean"), column(rows, f"{name}_sd")) for name in QUANTITIES
    }
    return {name: entry for name, entry in found.items() if entry is not None}


def movers(effects: Mapping[str, Effects]) -> list[tuple[str, str, str, float, float]]:
    """Choices that move the answer by more than its error, the strongest first: quantity, axis, choice, shift, and
    shift in units of the posterior's sd."""
    found = [
        (name, effect.axis, effect.choice, effect.shift, _ratio(effect.shift, entry.sd))
        for name, entry in effects.items()
        for effect in entry.effects
        if effect.moves
    ]
    return sorted(found, key=lambda entry: -abs(entry[-1]))


def _ratio(shift: float, sd: float) -> float:
    """A shift in units of an sd; without end where there is none, as of a number that is fixed in every member."""
    return shift / sd if sd else math.copysign(math.inf, shift)
