"""What a search has found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gammasky.analyses.tuning.columns import title_of
from gammasky.analyses.tuning.settings import PAPER
from gammasky.engine.infer.report.numbers import number

if TYPE_CHECKING:
    from rich.table import Table

    from gammasky.distributed.tuning.search import Found
    from gammasky.distributed.tuning.sweep import SweepTrial, Swept
    from gammasky.distributed.tuning.trials import TrialRow

SHOWN = 5
_NUMBERS = {"steps_done": "steps", "seconds": "s", "elbo": "ELBO", "log_z": "log Z", "k_hat": "k-hat"}


def best_table(found: Found, objective: str) -> Table:
    """The best complete trials and, of a search for settings, those of the paper."""
    from rich.table import Table

    shown = list(found.ranked[:SHOWN])
    paper = next((trial for trial in found.trials if is_paper(trial)), None)
    if paper and paper not in shown:
        shown.append(paper)
    table = Table(title=f"the best of {len(found.trials)} trials, by {objective}")
    settings = list(dict.fromkeys(name for trial in shown for name in trial.params if name != "steps"))
    table.add_column("trial")
    for name in [*settings, *_NUMBERS.values()]:
        table.add_column(name, justify="left" if name in settings else "right")
    if objective not in _NUMBERS:
        table.add_column(objective, justify="right")
    for trial in shown:
        label = f"{trial.number} (paper)" if trial is paper else str(trial.number)
        chosen = [_shown(trial.params.get(name, "")) for name in settings]
        numbers = [_number(trial, name) for name in _NUMBERS]
        value = [] if objective in _NUMBERS or trial.value is None else [f"{trial.value:.2f}"]
        table.add_row(label, *chosen, *numbers, *value)
    return table


def is_paper(trial: TrialRow) -> bool:
    """Whether a trial has the settings of arXiv:2604.08648, and has not ended early."""
    same = all(trial.params.get(name, value) == value for name, value in PAPER.items())
    return same and "guide" in trial.params and trial.state == "complete"


def summary(found: Found) -> str:
    """How the trials ended, and what ending early has saved."""
    states = {state: sum(trial.state == state for trial in found.trials) for state in ("complete", "pruned", "failed")}
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    whole = len(found.trials)
    return f"{whole} trials ({counts}): {found.rungs_done:.1f} whole fits of work instead of {whole}"


def _number(trial: TrialRow, name: str) -> str:
    value = trial.row.get(name)
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def swept_table(found: Swept) -> Table:
    """The best trials of a sweep that meet all constraints; of several objectives those of the front."""
    from rich.markup import escape
    from rich.table import Table

    several = len(found.goals) > 1
    shown = found.front if several else found.ranked[:SHOWN]
    title = "the trials that none is better than in every respect" if several else "the best trials"
    table = Table(title=escape(f"{title}, by {objectives(found)}"))
    axes = list(dict.fromkeys(name for trial in found.trials for name in trial.params))
    table.add_column("trial", no_wrap=True)
    for name in axes:
        table.add_column(name)
    for goal in found.goals:
        table.add_column(escape(title_of(goal.column)), justify="right")
    table.add_column("verdict", no_wrap=True)
    for trial in shown:
        chosen = [_shown(trial.params.get(name, "")) for name in axes]
        table.add_row(str(trial.number), *chosen, *values_told(trial), str(trial.row.get("verdict", "")))
    return table


def objectives(found: Swept) -> str:
    """What a sweep made small and large."""
    words = {"minimize": "lowest", "maximize": "highest"}
    return ", ".join(f"{words[goal.direction]} {title_of(goal.column)}" for goal in found.goals)


def values_told(trial: SweepTrial) -> list[str]:
    """The objectives of a trial, with their errors where they have any."""
    return [
        f"{number(value, error)} ± {number(error, error)}" if error > 0 else number(value)
        for value, error in zip(trial.values, trial.errors, strict=False)
    ]


def swept_lines(found: Swept) -> list[str]:
    """How the trials ended, and what no trial could meet."""
    fitted, meet = (sum(map(test, found.trials)) for test in (lambda t: bool(t.values), lambda t: t.meets))
    counts = f"{len(found.trials)} trials: {fitted} with a value"
    lines = [counts + (f", {meet} of them meet {' and '.join(found.constraints)}" if found.constraints else "")]
    failed = [trial for trial in found.trials if trial.error]
    lines += [f"trial {trial.number} has no value: {trial.error}" for trial in failed[:SHOWN]]
    lines += [f"and {len(failed) - SHOWN} more, see trials.csv"] if len(failed) > SHOWN else []
    for text in found.constraints:
        broken = sum(text in trial.violated for trial in found.trials)
        lines += [f"{broken} do not meet {text}"] if broken else []
    return lines
