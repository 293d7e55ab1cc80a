"""The answer as tables for other programs: members with their weights, and the effects of choices."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.answer import Answer
from gammasky.distributed.table import AXIS, columns_of, require_arrow
from gammasky.engine.files import replacing

MEMBERS, EFFECTS = "answer", "effects"


def write_tables(answer: Answer, folder: Path) -> None:
    """Write answer.csv and answer.parquet, a line for each finished member, and effects.csv.

    Raises:
        OSError: what the file system refused.
    """
    arrow, parquet = require_arrow()
    columns = columns_of(member_lines(answer))
    with replacing(folder / f"{MEMBERS}.parquet") as temporary:
        parquet.write_table(arrow.table({name: arrow.array(values) for name, values in columns.items()}), temporary)
    _write_csv(folder / f"{MEMBERS}.csv", columns)
    _write_csv(folder / f"{EFFECTS}.csv", columns_of(effect_lines(answer)))


def member_lines(answer: Answer) -> list[dict[str, Any]]:
    """The rows of the members, labels as `axis.<axis>`, with `evidence_weight` and `stacking_weight`."""
    evidence = {name: w for group in answer.groups for name, w in zip(group.members, group.weights, strict=True)}
    stacked = {
        name: w
        for stack in answer.stacks
        if stack.stack is not None
        for name, w in zip(stack.members, stack.stack.weights, strict=True)
    }
    lines = []
    for row in answer.rows:
        line = {name: value for name, value in row.items() if name != "labels"}
        line |= {f"{AXIS}{axis}": choice for axis, choice in row["labels"].items()}
        for column, weights in (("evidence_weight", evidence), ("stacking_weight", stacked)):
            if row["name"] in weights:
                line[column] = float(weights[row["name"]])
        lines.append(line)
    return lines


def effect_lines(answer: Answer) -> list[dict[str, Any]]:
    """A line for each quantity and choice."""
    return [
        {"quantity": name, **asdict(effect), "posterior_sd": entry.sd, "explained": entry.explained[effect.axis]}
        for name, entry in answer.effects.items()
        for effect in entry.effects
    ]


def _write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
