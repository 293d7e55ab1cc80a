"""Which settings are searched, how others are named, and how the best are handed on."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from rich.console import Console

from gammasky.analyses.tuning.report import best_table, is_paper, summary, swept_table
from gammasky.analyses.tuning.settings import (
    PAPER,
    default_params,
    paper_params,
    read_setting,
    settings_space,
)
from gammasky.commands.fit import command
from gammasky.commands.fit import fit as fit_command
from gammasky.commands.tune import tune
from gammasky.distributed.tuning.goals import Goal
from gammasky.distributed.tuning.search import Found
from gammasky.distributed.tuning.sweep import SweepTrial, Swept
from gammasky.distributed.tuning.trials import TrialRow, ranked
from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import Settings


@pytest.mark.parametrize(
    ("text", "name", "choice"),
    [
        ("guide=iaf,flow", "guide", CategoricalDistribution(("iaf", "flow"))),
        (" lr = 1e-4:1e-2:log ", "learning_rate", FloatDistribution(1e-4, 1e-2, log=True)),
        ("particles=2:16", "particles", IntDistribution(2, 16)),
        ("steps=100,200", "steps", CategoricalDistribution((100, 200))),
        ("alpha=0:1", "alpha", FloatDistribution(0.0, 1.0)),
    ],
)
def test_settings_by_name(text: str, name: str, choice: BaseDistribution) -> None:
    assert read_setting(text) == (name, choice)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guide", r"search 'guide': expected NAME=A,B,C or NAME=LOW:HIGH"),
        ("guide=", "expected NAME=A,B,C"),
        ("gide=iaf", "unknown setting 'gide'; did you mean 'guide'"),
        ("guide=iaf,flou", "unknown guide 'flou'; did you mean 'flow'"),
        ("schedule=constant:cosine", "search schedule: expected names, got 'constant:cosine'"),
        ("lr=0,1e-3", "learning_rate: expected a finite number above 0, got 0.0"),
        ("lr=1e-3:1e-4", r"^search learning_rate: .*low=0\.001, high=0\.0001"),
        ("lr=1e-3:1e-2:exp", "search learning_rate: expected LOW:HIGH or LOW:HIGH:log, got '1e-3:1e-2:exp'"),
        ("particles=2.5", "search particles: expected a whole number, got '2.5'"),
        ("particles=0:4", "particles: expected a whole number of at least 1, got 0"),
        ("alpha=0,2", "alpha: expected a number from 0 to 1, got 2.0"),
        ("steps=100,100", "search steps: expected values that differ"),
    ],
)
def test_what_no_fit_takes(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_setting(text)


def test_the_usual_space_holds_the_paper() -> None:
    space = settings_space(2000, "elbo")
    assert paper_params(space, 2000) == {**PAPER, "steps": 2000}
    assert space == {
        "guide": CategoricalDistribution(("flow", "iaf", "mvn")),
        "learning_rate": FloatDistribution(1e-4, 3e-2, log=True),
        "particles": CategoricalDistribution((1, 2, 4, 8, 16, 32)),
        "schedule": CategoricalDistribution(("constant", "cosine")),
        "steps": CategoricalDistribution((500, 1000, 2000)),
    }
    assert list(space) == sorted(space)  # the order in which a seed draws them
    assert "steps" not in settings_space(2000, "elbo_per_second")
    usual = default_params(space, 2000)
    assert usual == {"guide": "flow", "learning_rate": 3e-3, "particles": 8, "schedule": "cosine", "steps": 2000}
    assert default_params(settings_space(2000, "elbo", ["guide=iaf,mvn"]), 2000) is None
    wider = settings_space(400, "k_hat", ["alpha=0:1", "particles=4,8"])
    assert paper_params(wider, 400)["alpha"] == 1.0
    assert wider["particles"] == CategoricalDistribution((4, 8))


def test_the_help_lists_the_settings_and_their_values() -> None:
    told = " ".join(CliRunner().invoke(tune, ["--help"]).output.split())
    assert "A setting (guide, steps, particles, learning_rate, schedule, alpha) and its values" in told
    assert "learning_rate=1e-4:3e-2:log" in told


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["guide=flow"], "search guide: expected to hold the paper's iaf, .*, got flow; add it"),
        (["lr=1e-3:1e-2"], "search learning_rate: expected to hold the paper's 0.0003"),
        (["alpha=0,0.5"], "search alpha: expected to hold the paper's 1.0"),
    ],
)
def test_a_space_without_the_paper(asked: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_space(2000, "elbo", asked)
    with pytest.raises(InputError, match="steps: expected at least 8, got 4"):
        settings_space(4, "elbo")


@pytest.mark.parametrize(
    "params", [{**PAPER, "steps": 500}, {"guide": "flow", "learning_rate": 0.00123456, "alpha": 0.5}]
)
def test_options_to_paste_are_the_settings(params: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []
    words = command(
        "calibration", "demo", None, "x", {"method": "svi", "emulator": False, "steps": 700, **params}
    ).split()
    monkeypatch.setattr("gammasky.commands.fit.start_engine", lambda _module: None)
    monkeypatch.setattr("gammasky.commands.fit.run_fit", lambda *_, settings, **__: given.append(settings))
    result = CliRunner().invoke(fit_command, words[2:])
    assert result.exit_code == 0, result.output
    expected = {"method": "svi", "emulator": False, "steps": 700, **params}
    assert given == [Settings(**expected)]  # type: ignore[arg-type]


def trial(number: int, value: float | None, state: str = "complete", **params: object) -> TrialRow:
    row = {"seconds": 1.5, "elbo": value or 0.0, "steps_done": 100}
    return TrialRow(number, state, value, 8 if state == "complete" else 2, {**PAPER, **params}, row, "")


def test_the_table_has_the_best_and_the_paper() -> None:
    trials = tuple(trial(n, float(n), guide="mvn", particles=n + 10) for n in range(1, 9))
    ended = (trial(0, -3.0), *trials, trial(9, 99.0, "pruned"), trial(10, None, "failed"))
    found = Found(ended, ranked(ended, "maximize"), 9.5, 60.0)
    assert found.best is trials[-1]
    assert [row.number for row in found.ranked][:3] == [8, 7, 6]
    assert [row.number for row in ranked(ended, "minimize")][:3] == [0, 1, 2]
    assert [row.number for row in found.trials if is_paper(row)] == [0]
    table = best_table(found, "elbo")
    assert list(table.columns[0].cells) == ["8", "7", "6", "5", "4", "0 (paper)"]
    elbos = next(column for column in table.columns if column.header == "ELBO")
    assert next(iter(elbos.cells)) == "8.00"
    assert summary(found) == "11 trials (9 complete, 1 pruned, 1 failed): 9.5 whole fits of work instead of 11"


def test_a_tie_of_one_setting_is_shown_once() -> None:
    assert [row.number for row in ranked((trial(0, 1.0), trial(1, 1.0)), "maximize")] == [0]


def test_the_table_of_a_sweep_has_units() -> None:
    trial = SweepTrial(0, "m", "k", {"mask": "none"}, {}, "", (1.0,), (0.1,), (), True)
    stream = io.StringIO()
    Console(file=stream, width=120).print(
        swept_table(Swept((trial,), (Goal("excess_flux_mean", "minimize"),), (), 1.0))
    )
    assert stream.getvalue().count("flux of the excess [counts/pixel]") == 2  # in the title, and above the values
