"""The sweeps that come with the package: each can be planned, and says in its first lines how it is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.file import shipped
from gammasky.analyses.tuning import sweep as sweep_module
from gammasky.analyses.tuning.sweep import choices_of, corners_of, sweep_models
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.tuning.sampling import ask

SWEEPS = sorted(name for name in shipped() if name.startswith("sweep_"))


def test_there_are_five() -> None:
    assert SWEEPS == ["sweep_breaks", "sweep_lowest", "sweep_mask", "sweep_method", "sweep_prior"]


@pytest.mark.parametrize("name", SWEEPS)
def test_it_can_be_searched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Ensemble.read(name)
    seen: list[Any] = []
    monkeypatch.setattr(sweep_module, "sweep", lambda *given, **_: seen.append(given[2]))
    sweep_models(Path("out"), ensemble.expansion, ensemble.sweep, InlineRunner())
    (sought,) = seen
    directions = [goal.direction for goal in sought.goals]
    for number in range(6):
        asked = ask(sought.space, directions, "random", 0, [], number)
        member = sought.member_of(asked.params)
        made = choices_of(ensemble.expansion.axes, asked.params)
        assert {axis: label for axis, label in member.labels.items() if label != "base"} == {
            axis: choice.label for axis, choice in made.items()
        }
    assert all(
        len(members) > 1
        for axis, members in corners_of(ensemble.expansion).items()
        if axis in sought.space.distributions
    )


@pytest.mark.parametrize("name", SWEEPS)
def test_its_first_lines_say_how_it_is_run(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    assert re.search(rf"^#     gammasky tune --ensemble {name} --out ", text, re.MULTILINE)


def test_as_campaigns_they_are_grids() -> None:
    numbers = {
        name: len(Ensemble.read(name).expansion.members) for name in ("sweep_prior", "sweep_mask", "sweep_method")
    }
    assert numbers == {"sweep_prior": 7, "sweep_mask": 15, "sweep_method": 2 * (1 + 2 * 7 * 3)}
