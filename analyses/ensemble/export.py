"""The answer as tables for other programs: members with their weights, and the effects of choices."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.answer import Answer
from gammasky.distributed.table import write_csv

MEMBERS, EFFECTS = "answer.csv", "effects.csv"


def write_tables(answer: Answer, folder: Path) -> None:
    """Write answer.csv, a line for each finished member, and effects.csv.

    Raises:
        OSError: what the file system refused.
    """
    write_csv(folder / MEMBERS, member_lines(answer))
    write_csv(folder / EFFECTS, effect_lines(answer))


def member_lines(answer: Answer) -> list[dict[str, Any]]:
    """The rows of the members with `evidence_weight` and `stacking_weight`."""
    evidence = {name: w for group in answer.groups for name, w in zip(group.members, group.weights, strict=True)}
    stacked = {
        name: w
        for stack in answer.stacks
        if stack.stack is not None
        for name, w in zip(stack.members, stack.stack.weights, strict=True)
    }
    lines = []
    for row in answer.rows:
        line = dict(row)
        for column, weights in (("evidence_weight", evidence), ("stacking_weight", stacked)):
            if row["name"] in weights:
                line[column] = float(weights[row["name"]])
        lines.append(line)
    return lines


def effect_lines(answer: Answer) -> list[dict[str, Any]]:
    """A line for each quantity and choice."""
    return [
        {
            "quantity": name, **asdict(effect), "posterior_sd": entry.sd, "seed_sd": entry.repeats,
            "explained": entry.explained[effect.axis],
        }
        for name, entry in answer.effects.items()
        for effect in entry.effects
    ]  # fmt: skip
