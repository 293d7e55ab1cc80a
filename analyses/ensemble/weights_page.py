"""The sections of an ensemble's page about weights, and about what has none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gammasky.analyses.ensemble.answer import Answer, DataGroup
from gammasky.analyses.ensemble.answer_page import MOST_LINES, group_name, percent, stack_name
from gammasky.analyses.ensemble.figures import axis_title
from gammasky.analyses.ensemble.weights import Stack
from gammasky.engine.infer.report.html import Section, Table
from gammasky.engine.infer.report.numbers import number


def evidence(answer: Answer) -> Section:
    """Evidence weights, data group by data group."""
    return Section("evidence", "Evidence", {"groups": [_group(group) for group in answer.groups]}, "Evidence")


def _group(group: DataGroup) -> dict[str, Any]:
    order = sorted(range(len(group.members)), key=lambda i: -group.log_z[i])[:MOST_LINES]
    rows = [[group.members[i], number(float(group.log_z[i]), 0.1), percent(float(group.weights[i]))] for i in order]
    averages = [
        [axis_title(name), number(entry.mean, entry.sd), number(entry.sd, entry.sd)]
        for name, entry in group.averages.items()
    ]
    return {
        "title": group_name(group),
        "weights": Table(["member", "log Z", "weight"], rows, group_name(group)),
        "averages": Table(["average over these", "mean", "sd"], averages),
        "doubtful": group.doubtful,
        "without": group.without,
    }


def stacks(answer: Answer) -> Section:
    """Stacking weights on the pixels that all members fit."""
    found = [(stack, stack.stack) for stack in answer.stacks if stack.stack is not None]
    values = {
        "absent": [stack.reason for stack in answer.stacks if stack.stack is None],
        "tables": [_stack(stack_name(sky, answer), sky.members, stack) for sky, stack in found],
    }
    return Section("stacking", "Stacking", values, "Stacking")


def _stack(name: str, members: Sequence[str], stack: Stack) -> Table:
    """The members with any weight."""
    order = sorted(range(len(members)), key=lambda i: -stack.weights[i])
    heavy = [i for i in order if stack.weights[i] > 0.005][:MOST_LINES]
    gain = number(stack.score - stack.single, 0.1)
    caption = f"{name}: {number(stack.n_pixels)} common pixels; the mixture predicts them {gain} nat better than the "
    rows = [[members[i], percent(float(stack.weights[i]))] for i in heavy]
    return Table(["member", "weight"], rows, f"{caption}best member")


def absent(answer: Answer) -> Section | None:
    """Members that are in no average."""
    if not answer.failed and not answer.missing:
        return None
    failed = Table(["failed member", "error"], [[*entry] for entry in answer.failed.items()], words=2)
    return Section("absent", "Not done", {"failed": failed, "missing": answer.missing}, "Not done")


def configuration(answer: Answer) -> Section:
    """The ensemble as it was run."""
    text = json.dumps(answer.campaign, indent=2, ensure_ascii=False)
    return Section("configuration", "Configuration", {"text": text}, "Configuration")
