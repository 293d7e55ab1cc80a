"""The trials of a search as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.distributed.member import Row
from gammasky.distributed.table import write_csv
from gammasky.distributed.tuning.space import Params
from gammasky.distributed.tuning.trial_store import ERROR, has_ended

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class TrialRow:
    """A trial that has ended.

    Attributes:
        number: of the trial in its study.
        state: "complete", "pruned" or "failed".
        value: of the objective where it ended; None: it has none.
        rung: the last that it did; 0: none.
        params: its settings; row: what the objective keeps.
        error: why it failed or could not go on.
    """

    number: int
    state: str
    value: float | None
    rung: int
    params: Params
    row: Row
    error: str


def read_trials(study: Study) -> list[TrialRow]:
    """The trials that have ended by themselves."""
    return [_row(trial) for trial in study.get_trials(deepcopy=False) if has_ended(trial)]


def _row(trial: FrozenTrial) -> TrialRow:
    rungs = trial.intermediate_values
    last = max(rungs, default=0)
    kept = {name: value for name, value in trial.user_attrs.items() if name != ERROR}
    error = str(trial.user_attrs.get(ERROR, ""))
    return TrialRow(trial.number, STATES[trial.state.name], rungs.get(last), last, dict(trial.params), kept, error)


def write_trials(path: Path, trials: Sequence[TrialRow]) -> None:
    """Write the table, whole or not at all."""
    write_csv(path, [_line(trial) for trial in trials])


def _line(trial: TrialRow) -> dict[str, Any]:
    state = {"number": trial.number, "state": trial.state, "value": trial.value, "rung": trial.rung}
    return {**state, **trial.params, **trial.row, "error": trial.error}


def ranked(trials: Sequence[TrialRow], direction: str) -> tuple[TrialRow, ...]:
    """The trials that were not ended early, the best first; of several with the same settings the first."""
    complete: dict[str, TrialRow] = {}
    for trial in trials:
        if trial.state == "complete":
            complete.setdefault(str(trial.params), trial)
    sign = -1.0 if direction == "maximize" else 1.0
    return tuple(sorted(complete.values(), key=lambda trial: sign * (trial.value or 0.0)))
