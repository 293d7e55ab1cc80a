"""The sections of an ensemble's page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.answer import Answer, DataGroup, SkyStack, movers
from gammasky.analyses.ensemble.effects import Effects
from gammasky.analyses.ensemble.figures import axis_title
from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.ensemble.weights import Average
from gammasky.engine.infer.report.html import Cell, Picture, Section, Table, picture
from gammasky.engine.infer.report.numbers import ABSENT, interval, number
from gammasky.engine.machine import PACKAGES, VERSION

MOST_LINES = 15  # of a table that is not folded away
MOST_WAYS = 8  # to average, side by side; of more, those by evidence are with the evidences
SIGNS = {"reliable": "✓", "preview": "◐", "unreliable": "✕"}
# what a member's row may hold: its heading, and the digits that matter
_MEMBER_NUMBERS: dict[str, tuple[str, float | None]] = {
    "elbo": ("ELBO", 0.1), "log_z": ("log Z", 0.1), "k_hat": ("k-hat", 0.1), "r_hat_max": ("R-hat", 0.01),
    "elpd": ("elpd", 0.1), "p_waic": ("p_WAIC", 1.0), "n_pixels": ("pixels", None),
    "n_parameters": ("parameters", None), "fit_seconds": ("seconds", 10.0),
}  # fmt: skip


def facts(answer: Answer) -> list[str]:
    """The campaign in one line."""
    about = [f"{key} {answer.campaign[key]}" for key in ("model", "data") if key in answer.campaign]
    return [
        f"{len(answer.rows)} members",
        f"{len(answer.axes)} axes",
        f"{len(answer.groups)} sets of pixels",
        *about,
        *made_with(answer),
    ]


def made_with(answer: Answer) -> list[str]:
    """With what the members were fitted: backend, device, versions; each with its members where they differ."""
    told = []
    for name in ("backend", "device", *(f"{VERSION}{package}" for package in PACKAGES)):
        counts = Counter(str(row[name]) for row in answer.rows if row.get(name))
        values = [f"{value} ({count})" if len(counts) > 1 else value for value, count in counts.items()]
        told += [f"{name.removeprefix(VERSION)} {', '.join(values)}"] if values else []
    return told


def verdict(answer: Answer) -> dict[str, Any]:
    """How complete the campaign is, and how far its members can be trusted."""
    levels = {level: sum(row["verdict"] == level for row in answer.rows) for level in SIGNS}
    whole = not answer.failed and not answer.missing
    worst = next((level for level in ("unreliable", "preview", "reliable") if levels[level]), "preview")
    lines = [f"marked {level}: {count} of {len(answer.rows)}" for level, count in levels.items() if count]
    if answer.left_out:
        lines.append(f"in no average, since not reliable: {len(answer.left_out)} (averages of every member: `every`)")
    if answer.failed:
        lines.append(f"failed, and in no average: {len(answer.failed)} (see below)")
    if answer.missing:
        lines.append(f"not run yet: {len(answer.missing)}; this is the answer so far")
    told = "All members are done." if whole else "Not all members are done."
    return {"level": worst, "sign": SIGNS[worst], "meaning": told, "reasons": lines}


def result(answer: Answer) -> Section:
    """Every quantity, averaged in each way that makes sense."""
    stacks = [stack for stack in answer.stacks if stack.stack is not None]
    alike = "reliable members alike" if answer.left_out else "all members alike"
    ways: list[tuple[str, Mapping[str, Average]]] = [(alike, answer.equal)]
    ways += [(stack_name(stack, answer), stack.averages) for stack in stacks]
    ways += [(f"evidence, {group_name(group)}", group.averages) for group in answer.groups if group.members]
    rows = [
        [axis_title(name) if i == 0 else "", way, *_average(averages.get(name))]
        for name in answer.quantities
        for i, (way, averages) in enumerate(ways if len(ways) <= MOST_WAYS else ways[: 1 + len(stacks)])
    ]
    headings = ["quantity", "weights", "mean", "sd", "of that within", "between", "weight covered"]
    none = len(answer.left_out) == len(answer.rows)
    values = {"table": Table(headings, [] if none else rows, words=2), "unreliable": none}
    return Section("result", "Result", values, "Result", package=__package__)  # a study shows it, too


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


def moving(answer: Answer, pictures: Mapping[str, Path]) -> Section:
    """Which choices move the answer by more than its error."""
    rows = [
        [QUANTITIES[name][0], axis, choice, _signed(shift, 0.1 * answer.effects[name].sd), _signed(sds, 0.1)]
        for name, axis, choice, shift, sds in movers(answer.effects)
    ]
    headings = ["quantity", "axis", "choice", "shift", "in posterior sd"]
    first, rest = (Table(headings, part, words=3) for part in (rows[:MOST_LINES], rows[MOST_LINES:]))
    caption = (
        "What the members differ by: the variance of their means, by axis; interactions are what no axis explains "
        "alone. With members missing the shares need not add up to one."
    )
    values = {"found": len(rows), "first": first, "rest": rest, "picture": _picture(pictures, "variance", caption)}
    return Section("moving", "What moves the answer", values, "What moves the answer")


def _signed(value: float, spread: float) -> str:
    return ("+" if 0 < value < math.inf else "") + number(value, spread)


def _picture(pictures: Mapping[str, Path], name: str, caption: str) -> Picture | None:
    if name not in pictures:
        return None
    return picture(pictures[name].read_bytes(), caption, caption, str(pictures[name]))


def marginal(answer: Answer, pictures: Mapping[str, Path]) -> Section | None:
    """The effect of each choice on each quantity."""
    headings = ["axis", "choice", "members", "shift", "error", "variance explained", "moves"]
    shown = []
    for name, entry in answer.effects.items():
        rows = [
            [e.axis, e.choice, number(e.n), _signed(e.shift, 0.1 * entry.sd), number(e.error, 0.1 * entry.sd),
             percent(entry.explained[e.axis]), "yes" if e.moves else ""]
            for e in entry.effects
        ]  # fmt: skip
        caption = (
            f"Shift of the {QUANTITIES[name][0]} by each choice, the other axes averaged over: mean of {entry.n} "
            f"members {number(entry.grand_mean, entry.sd)}, sd between them {number(entry.spread, entry.sd)}, "
            f"{_repeated(entry)}posterior sd of one fit {number(entry.sd, entry.sd)} (band). The bar is the error of "
            "the shift: how much it depends on the other axes and on the seeds of the fits."
        )
        table, drawn = Table(headings, rows, words=2), _picture(pictures, f"effects_{name}", caption)
        shown.append({"title": axis_title(name), "picture": drawn, "table": table})
    return Section("effects", "Marginal effects", {"effects": shown}, "Marginal effects") if shown else None


def _repeated(entry: Effects) -> str:
    """What another seed does, where members were repeated with one."""
    return f"sd between seeds {number(entry.repeats, 0.1 * entry.sd)}, " if math.isfinite(entry.repeats) else ""


def forests(answer: Answer, pictures: Mapping[str, Path]) -> Section:
    """Every member, quantity by quantity."""
    caption = "Median and 90 % interval of each member; diamonds are previews, crosses are not to be quoted: {}."
    titles = {f"forest_{name}": axis_title(name) for name in answer.quantities if f"forest_{name}" in pictures}
    shown = [(title, _picture(pictures, name, caption.format(title))) for name, title in titles.items()]
    return Section("members", "Members", {"forests": shown, "table": _member_table(answer)}, "Members")


def _member_table(answer: Answer) -> Table:
    """Diagnostics of every member, and the interval of the first quantity."""
    first = answer.quantities[:1]
    known = [name for name in _MEMBER_NUMBERS if any(name in row for row in answer.rows)]
    rows = [
        [
            row["name"],
            Cell(row["verdict"], row.get("why", "")),
            *(interval(row.get(f"{name}_q05"), row.get(f"{name}_q95"), row.get(f"{name}_sd")) for name in first),
            *(_number(row, name, _MEMBER_NUMBERS[name][1]) for name in known),
        ]
        for row in answer.rows
    ]
    intervals = [f"{QUANTITIES[name][0]}, 90 %" for name in first]
    return Table(["member", "verdict", *intervals, *(_MEMBER_NUMBERS[name][0] for name in known)], rows, words=2)


def _number(row: Mapping[str, Any], name: str, spread: float | None) -> Cell:
    """A number of a member, with its standard error where that is known."""
    error = row.get(f"{name}_error")
    return Cell(number(row.get(name), spread), f"± {number(error, spread)}" if error is not None else "")
