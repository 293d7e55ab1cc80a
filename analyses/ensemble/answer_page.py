"""The sections of an ensemble's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gammasky.analyses.ensemble.answer import Answer, DataGroup, SkyStack, movers
from gammasky.analyses.ensemble.figures import axis_title
from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.ensemble.weights import Average
from gammasky.engine.infer.report.markup import Child, Markup, details, joined, picture, section, table, tag
from gammasky.engine.infer.report.numbers import ABSENT, interval, number

MOST_LINES = 15  # of a table that is not folded away
MOST_WAYS = 8  # to average, side by side; of more, those by evidence are with the evidences
SIGNS = {"reliable": "✓", "preview": "◐", "unreliable": "✕"}


def head(answer: Answer) -> Markup:
    """Title, and the campaign in one line."""
    facts = [
        f"{len(answer.rows)} members",
        f"{len(answer.axes)} axes",
        f"{len(answer.groups)} sets of pixels",
        f"model {answer.campaign['model']}" if "model" in answer.campaign else None,
        f"data {answer.campaign['data']}" if "data" in answer.campaign else None,
    ]
    description = answer.campaign.get("description")
    return tag(
        "header",
        tag("h1", tag("span", answer.name), tag("small", " ensemble of fits")),
        tag("p", str(description), class_="lead") if description else None,
        tag("p", " · ".join(fact for fact in facts if fact), class_="facts"),
    )


def verdict(answer: Answer) -> Markup:
    """How complete the campaign is, and how far its members can be trusted."""
    levels = {level: sum(row["verdict"] == level for row in answer.rows) for level in SIGNS}
    whole = not answer.failed and not answer.missing
    worst = next((level for level in ("unreliable", "preview", "reliable") if levels[level]), "preview")
    lines = [f"marked {level}: {count} of {len(answer.rows)}" for level, count in levels.items() if count]
    if answer.failed:
        lines.append(f"failed, and in no average: {len(answer.failed)} (see below)")
    if answer.missing:
        lines.append(f"not run yet: {len(answer.missing)}; this is the answer so far")
    text = "All members are done." if whole else "Not all members are done."
    return tag(
        "section",
        tag("p", tag("span", SIGNS[worst], class_="sign", aria_hidden="true"), tag("strong", worst), text,
            class_="level"),
        tag("ul", *(tag("li", line) for line in lines)),
        class_=f"verdict {worst}",
        id="verdict",
        aria_label="verdict",
    )  # fmt: skip


def result(answer: Answer) -> Markup:
    """Every quantity, averaged in each way that makes sense."""
    stacks = [stack for stack in answer.stacks if stack.stack is not None]
    ways: list[tuple[str, Mapping[str, Average]]] = [("all members alike", answer.equal)]
    ways += [(stack_name(stack, answer), stack.averages) for stack in stacks]
    ways += [(f"evidence, {group_name(group)}", group.averages) for group in answer.groups if group.members]
    rows = [
        [axis_title(name) if i == 0 else "", way, *_average(averages.get(name))]
        for name in answer.quantities
        for i, (way, averages) in enumerate(ways if len(ways) <= MOST_WAYS else ways[: 1 + len(stacks)])
    ]
    if not rows:
        text = "No member has a quantity to average: a model's excess is the group 'gce', or its only group."
        return section("result", "Result", tag("p", text, class_="note"))
    return section(
        "result", "Result",
        tag("p", "Each line is a mixture of the members' posteriors. Its sd is made of the sd that the members have by "
            "themselves and of the scatter of their means; where the scatter is the larger, the choices of the "
            "ensemble decide the answer, not the photons."),
        table(["quantity", "weights", "mean", "sd", "of that within", "between", "weight covered"], rows, words=2),
        tag("p", "Weight covered: of the members that have the quantity at all; a slope that is fixed is none.",
            class_="note"),
    )  # fmt: skip


def _average(entry: Average | None) -> list[str]:
    if entry is None:
        return [ABSENT] * 5
    sds = (entry.sd, entry.within, entry.between)
    return [*(number(value, entry.sd) for value in (entry.mean, *sds)), percent(entry.share)]


def percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else ABSENT


def stack_name(stack: SkyStack, answer: Answer) -> str:
    return "stacking" if len(answer.stacks) == 1 else f"stacking, sky {stack.sky}"


def group_name(group: DataGroup) -> str:
    return ", ".join(f"{axis} {choice}" for axis, choice in group.labels.items()) or "all members"


def moving(answer: Answer, pictures: Mapping[str, Path]) -> Markup:
    """Which choices move the answer by more than its error."""
    found = movers(answer.effects)
    rows = [
        [QUANTITIES[name][0], axis, choice, _signed(shift, 0.1 * answer.effects[name].sd), _signed(sds, 0.1)]
        for name, axis, choice, shift, sds in found
    ]
    headings = ["quantity", "axis", "choice", "shift", "in posterior sd"]
    told = (
        tag("p", f"{len(found)} of the choices shift a quantity by more than the posterior sd of one fit (and by more "
            "than twice the error of the shift).") if found
        else tag("p", "No choice shifts a quantity by more than the posterior sd of one fit.")
    )  # fmt: skip
    return section(
        "moving", "What moves the answer", told,
        table(headings, rows[:MOST_LINES], words=3) if rows else None,
        details(f"{len(rows) - MOST_LINES} more", table(headings, rows[MOST_LINES:], words=3))
        if len(rows) > MOST_LINES else None,
        _picture(pictures, "variance", "What the members differ by: the variance of their means, by axis; interactions "
                 "are what no axis explains alone. With members missing the shares need not add up to one."),
    )  # fmt: skip


def _signed(value: float, spread: float) -> str:
    return ("+" if value > 0 else "") + number(value, spread)


def _picture(pictures: Mapping[str, Path], name: str, caption: str) -> Markup | None:
    if name not in pictures:
        return None
    return picture(pictures[name].read_bytes(), caption, caption, str(pictures[name]))


def marginal(answer: Answer, pictures: Mapping[str, Path]) -> Markup:
    """The effect of each choice on each quantity."""
    parts: list[Child] = []
    for name, entry in answer.effects.items():
        rows = [
            [e.axis, e.choice, number(e.n), _signed(e.shift, 0.1 * entry.sd), number(e.error, 0.1 * entry.sd),
             percent(entry.explained[e.axis]), "yes" if e.moves else ""]
            for e in entry.effects
        ]  # fmt: skip
        caption = (
            f"Shift of the {QUANTITIES[name][0]} by each choice, the other axes averaged over: mean of {entry.n} "
            f"members {number(entry.grand_mean, entry.sd)}, sd between them {number(entry.spread, entry.sd)}, "
            f"posterior sd of one fit {number(entry.sd, entry.sd)} (band). The bar is the error of the shift: how much "
            "it depends on the other axes."
        )
        headings = ["axis", "choice", "members", "shift", "error", "variance explained", "moves"]
        parts += [
            _picture(pictures, f"effects_{name}", caption),
            details(f"Table: {axis_title(name)}", table(headings, rows, words=2)),
        ]
    return section("effects", "Marginal effects", *parts)


def forests(answer: Answer, pictures: Mapping[str, Path]) -> Markup:
    """Every member, quantity by quantity."""
    names = [name for name in answer.quantities if f"forest_{name}" in pictures]
    caption = "Median and 90 % interval of each member; diamonds are previews, crosses are not to be quoted: {}."
    return section(
        "members", "Members",
        *(_picture(pictures, f"forest_{name}", caption.format(axis_title(name))) for name in names[:1]),
        *(details(axis_title(name), _picture(pictures, f"forest_{name}", caption.format(axis_title(name))))
          for name in names[1:]),
        details("Table of all members", _member_table(answer)),
    )  # fmt: skip


def _member_table(answer: Answer) -> Markup:
    """Diagnostics of every member, and the interval of the first quantity."""
    first = answer.quantities[:1]
    numbers = {"elbo": 0.1, "log_z": 0.1, "k_hat": 0.1, "elpd": 0.1, "p_waic": 1.0, "n_pixels": None,
               "n_parameters": None, "fit_seconds": 10.0}  # fmt: skip
    rows = [
        [
            row["name"],
            row["verdict"],
            *(interval(row.get(f"{name}_q05"), row.get(f"{name}_q95"), row.get(f"{name}_sd")) for name in first),
            *(number(row.get(name), spread) for name, spread in numbers.items()),
        ]
        for row in answer.rows
    ]
    headings = ["member", "verdict", *(f"{QUANTITIES[name][0]}, 90 %" for name in first), "ELBO", "log Z", "k-hat",
                "elpd", "p_WAIC", "pixels", "parameters", "seconds"]  # fmt: skip
    return table(headings, rows, words=2)


def contents(parts: Sequence[Markup], titles: Mapping[str, str]) -> Markup:
    """Links to the sections that are there."""
    present = [name for name in titles if any(part.startswith(f'<section id="{name}"') for part in parts)]
    return tag("nav", joined([tag("a", titles[name], href=f"#{name}") for name in present], " "), aria_label="contents")
