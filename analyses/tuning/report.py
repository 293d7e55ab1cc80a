"""What a search has found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gammasky.analyses.tuning.settings import PAPER

if TYPE_CHECKING:
    from rich.table import Table

    from gammasky.distributed.tuning.search import Found
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
