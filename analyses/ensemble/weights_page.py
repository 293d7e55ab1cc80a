"""The sections of an ensemble's page about weights, and about what has none."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gammasky.analyses.ensemble.answer import Answer, DataGroup
from gammasky.analyses.ensemble.answer_page import MOST_LINES, group_name, percent, stack_name
from gammasky.analyses.ensemble.figures import axis_title
from gammasky.engine.infer.report.markup import Child, Markup, details, section, table, tag
from gammasky.engine.infer.report.numbers import number


def evidence(answer: Answer) -> Markup:
    """Evidence weights, data group by data group."""
    parts: list[Child] = [
        tag("p", "Evidences tell members apart only where they fit the same photons in the same pixels, so weights add "
            "up to one within each set of pixels and say nothing about another mask or region. All members of a set "
            "count as equally likely beforehand, and evidence depends on the widths of their priors.")
    ]  # fmt: skip
    for group in answer.groups:
        parts += _group(group, folded=len(answer.groups) > 4)
    return section("evidence", "Evidence", *parts)


def _group(group: DataGroup, *, folded: bool) -> list[Child]:
    order = sorted(range(len(group.members)), key=lambda i: -group.log_z[i])
    rows = [[group.members[i], number(float(group.log_z[i]), 0.1), percent(float(group.weights[i]))] for i in order]
    parts: list[Child] = []
    if rows:
        parts.append(table(["member", "log Z", "weight"], rows[:MOST_LINES], caption=group_name(group)))
    averages = [
        [axis_title(name), number(entry.mean, entry.sd), number(entry.sd, entry.sd)]
        for name, entry in group.averages.items()
    ]
    if averages:
        parts.append(table(["average over these", "mean", "sd"], averages))
    if group.doubtful:
        names = ", ".join(group.doubtful)
        told = f"Not to be relied on: log Z of {names} has a k-hat above 0.7, or an error above half a nat."
        parts.append(tag("p", told, class_="note"))
    if group.without:
        parts.append(tag("p", "No evidence, so no weight: ", ", ".join(group.without), class_="note"))
    return [details(group_name(group), *parts)] if folded else parts


def stacks(answer: Answer) -> Markup:
    """Stacking weights on the pixels that all members fit."""
    parts: list[Child] = [
        tag("p", "Stacking mixes members so that the mixture predicts each pixel best, leaving that pixel out (WAIC). "
            "It compares members on the pixels that all of them fit, so masks and regions need not be the same; but a "
            "member with a larger region has learnt from more photons, and the weights know nothing of the pixels that "
            "others mask: a mask is no model, and one that leaves little but the common pixels has an advantage there.")
    ]  # fmt: skip
    for stack in answer.stacks:
        if stack.stack is None:
            parts.append(tag("p", f"No stacking: {stack.reason}.", class_="note"))
            continue
        order = sorted(range(len(stack.members)), key=lambda i: -stack.stack.weights[i])  # type: ignore[union-attr]
        heavy = [i for i in order if stack.stack.weights[i] > 0.005][:MOST_LINES]
        rows: list[Sequence[Child]] = [[stack.members[i], percent(float(stack.stack.weights[i]))] for i in heavy]
        gain = number(stack.stack.score - stack.stack.single, 0.1)
        caption = f"{stack_name(stack, answer)}: {number(stack.stack.n_pixels)} common pixels; the mixture predicts "
        parts.append(table(["member", "weight"], rows, caption=f"{caption}them {gain} nat better than the best member"))
    return section("stacking", "Stacking", *parts)


def absent(answer: Answer) -> Markup:
    """Members that are in no average."""
    failed = [[name, error] for name, error in answer.failed.items()]
    return section(
        "absent", "Not done",
        table(["failed member", "error"], failed, words=2) if failed else None,
        tag("p", "Not run yet: ", ", ".join(answer.missing)) if answer.missing else None,
    )  # fmt: skip


def configuration(answer: Answer) -> Markup:
    """The ensemble as it was run."""
    text = json.dumps(answer.campaign, indent=2, ensure_ascii=False)
    return section("configuration", "Configuration", details("The ensemble", tag("pre", text, tabindex="0")))
