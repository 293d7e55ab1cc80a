"""Sweeps: which trials there are, whatever the workers do and whoever is killed; what is best; what is done once."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from gammasky.distributed import driver
from gammasky.distributed.attempt import attempt
from gammasky.distributed.member import Member
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.store import Store
from gammasky.distributed.tuning import sweep as sweep_module
from gammasky.distributed.tuning.goals import Goal, Words, read_constraint
from gammasky.distributed.tuning.sampling import ask
from gammasky.distributed.tuning.space import Params, SearchSpace
from gammasky.distributed.tuning.sweep import Swept, sweep
from gammasky.distributed.tuning.sweep_driver import Sought
from gammasky.distributed.tuning.trial_store import JOURNAL, open_journal
from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.interrupt import Interrupts

WORDS = Words(lambda name: name, {"reliable": ("verdict", "reliable")}, "data")
SPACE: dict[str, Any] = {"x": FloatDistribution(-10.0, 10.0)}


def space_of(distributions: dict[str, Any]) -> SearchSpace:
    """With a `y` that exists only beside the kind "deep"."""
    return SearchSpace(
        distributions,
        lambda name, params: name != "y" or params.get("kind") == "deep",
        lambda _, value: float(f"{value:.4g}") if isinstance(value, float) else value,
    )


def member_of(params: Params) -> Member:
    if params.get("kind") == "impossible":
        raise InputError("member 'it': cannot be")
    return Member(",".join(f"{name}={value}" for name, value in params.items()), dict(params), {}, 1.0)


def sought(**changes: Any) -> Sought:
    given: dict[str, Any] = {
        "space": space_of(changes.pop("distributions", SPACE)), "member_of": member_of,
        "goals": [Goal("left", "minimize")], "constraints": [], "sampler": "tpe", "seed": 0, "ahead": 4,
    }  # fmt: skip
    given |= changes
    given["constraints"] = [read_constraint(text, WORDS) for text in given["constraints"]]
    return Sought(**given)


class Shuffled:
    """A runner that holds several members at once and ends them in any order."""

    def __init__(self, seed: int, slots: int, lost: Callable[[Job], bool] = lambda _job: False) -> None:
        self._random, self._slots, self.lanes, self._lost = random.Random(seed), slots, 1, lost

    @contextmanager
    def session(self, work: Work) -> Iterator[Shuffled]:
        self._work, self._jobs = work, list[Job]()
        yield self

    def interrupts(self) -> Interrupts:
        return Interrupts()

    def slots(self) -> int:
        return self._slots

    def room(self) -> int:
        return self._slots - len(self._jobs)

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def running(self) -> None: ...

    def tries_elsewhere(self) -> bool:
        return False

    def leave_room(self) -> None: ...

    def stop(self) -> None: ...

    def poll(self, _seconds: float) -> list[tuple[Job, Outcome]]:
        if not self._jobs:
            return []
        job = self._jobs.pop(self._random.randrange(len(self._jobs)))
        if self._lost(job):
            return [(job, Outcome("lost", attempts=job.attempt, error="the node went"))]
        return [(job, attempt(self._work, job, lambda *_: None, {}))]


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power cut is waited for: that takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def run(tmp_path: Path, tasks: ModuleType) -> Any:
    """Sweep in tmp_path/sweep; each fit is noted in tmp_path/log."""

    def start(trials: int = 12, *, folder: str = "sweep", runner: Any = None, **changes: Any) -> Swept:
        names = ("resume", "storage", "keep_going", "retry_failed")
        options = {name: changes.pop(name) for name in names if name in changes}
        task = tasks.Bowl(str(tmp_path / "log"))
        place = runner or InlineRunner()
        return sweep(tmp_path / folder, task, sought(**changes), trials, place, about={}, quiet=True, **options)

    return start


def chosen(found: Swept) -> list[Params]:
    return [trial.params for trial in found.trials]


def fits(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def study_of(folder: Path) -> Any:
    """The study, by Optuna alone, as optuna-dashboard opens it."""
    storage = open_journal(folder / JOURNAL)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize(("sampler", "goals"), [("tpe", 1), ("tpe", 2), ("random", 1), ("qmc", 1), ("nsga2", 2)])
def test_the_trials_are_the_same_whatever_the_workers_do(run: Any, sampler: str, goals: int) -> None:
    changes: dict[str, Any] = {
        "sampler": sampler, "goals": [Goal("left", "minimize"), Goal("right", "minimize")][:goals],
        "constraints": ["log_z >= best - 9"],
        "distributions": {"kind": CategoricalDistribution(("flat", "deep")), **SPACE, "y": IntDistribution(1, 9)},
    }  # fmt: skip
    one = run(24, **changes)
    assert len(one.trials) == 24
    assert {"y" in params for params in chosen(one)} == {True, False}
    assert all(("y" in params) == (params["kind"] == "deep") for params in chosen(one))
    for number, slots in enumerate((2, 9)):
        other = run(24, folder=f"other {slots}", runner=Shuffled(number, slots), **changes)
        assert chosen(other) == chosen(one)
        assert [trial.values for trial in other.trials] == [trial.values for trial in one.trials]


def test_another_seed_or_number_at_once_is_another_sweep(run: Any) -> None:
    one = chosen(run(16))
    assert chosen(run(16, folder="b", seed=1)) != one
    assert chosen(run(16, folder="c", ahead=1))[:10] == one[:10]  # the first ones are drawn blindly
    assert chosen(run(16, folder="d", ahead=16)) != one


def test_finds_the_bottom(run: Any) -> None:
    found = run(40)
    assert found.best is not None
    assert abs(found.best.params["x"] + 2.0) < 1.0
    late = sorted(abs(params["x"] + 2.0) for params in chosen(found)[20:])
    assert late[10] < 3.0  # of random ones half would be further away than 5


KILLED = """
import sys
sys.path[:0] = [{here!r}, {root!r}]
from pathlib import Path
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.tuning.sweep import sweep
from tuning_tasks import Bowl
from tests.distributed.tuning.test_sweep import sought
sweep({folder!r}, Bowl({log!r}, {kill}), sought(sampler={sampler!r}), 16, InlineRunner(), about={{}}, quiet=True)
"""


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("kill", [1, 13])
def test_a_killed_driver_changes_nothing(run: Any, tmp_path: Path, kill: int, sampler: str) -> None:
    whole = run(16, folder="whole", sampler=sampler)
    (tmp_path / "log").unlink()
    names = {"here": str(Path(__file__).parent), "root": str(Path(__file__).parents[3]), "kill": kill,
             "folder": str(tmp_path / "sweep"), "log": str(tmp_path / "log"), "sampler": sampler}  # fmt: skip
    ended = subprocess.run([sys.executable, "-c", KILLED.format(**names)], timeout=120, check=False)
    assert ended.returncode == -9
    found = run(16, resume=True, sampler=sampler)
    assert chosen(found) == chosen(whole)
    assert [trial.number for trial in found.trials] == list(range(16))
    assert len(fits(tmp_path)) == 17  # the one that was under way was begun again
    assert run(16, resume=True, sampler=sampler).trials == found.trials
    assert len(fits(tmp_path)) == 17


def test_it_may_grow(run: Any, tmp_path: Path) -> None:
    run(5)
    found = run(14, resume=True)
    assert chosen(found) == chosen(run(14, folder="whole"))
    assert len(fits(tmp_path)) == 28
    with pytest.raises(InputError, match="holds another search: sampler was"):
        run(14, resume=True, sampler="random")


def test_few_choices_are_all_fitted_once(run: Any, tmp_path: Path) -> None:
    few = {"kind": CategoricalDistribution(("flat", "deep")), "x": FloatDistribution(-1.0, 1.0, step=1.0),
           "y": IntDistribution(1, 2)}  # fmt: skip
    found = run(40, distributions=few)
    assert len(found.trials) == len(fits(tmp_path)) == 3 + 6
    assert len({str(params) for params in chosen(found)}) == 9
    assert len(run(40, distributions=few, resume=True).trials) == 9


def test_choices_that_chance_left_out_are_fitted_when_it_grows(run: Any) -> None:
    few = {"x": IntDistribution(0, 5)}
    before = run(4, distributions=few)
    after = run(40, distributions=few, resume=True)
    assert chosen(after)[:4] == chosen(before)
    assert {params["x"] for params in chosen(after)} == set(range(6))
    assert len(after.trials) == 4 + 6 - len({params["x"] for params in chosen(before)})


def test_a_trial_that_is_the_fit_of_an_earlier_one_takes_its_result(run: Any, tmp_path: Path) -> None:
    found = run(8, distributions={"x": IntDistribution(0, 8)}, runner=Shuffled(0, 4))
    assert len(found.trials) == 8
    different = {params["x"] for params in chosen(found)}
    assert len(different) < 8
    assert len(fits(tmp_path)) == len(different)
    assert [trial.values[0] for trial in found.trials] == [(params["x"] + 2.0) ** 2 for params in chosen(found)]
    assert len(found.ranked) == len(different)


def test_constraints_are_judged_by_the_best_of_all(run: Any, tmp_path: Path) -> None:
    found = run(30, constraints=["log_z >= best - 1", "reliable"])
    top = max(trial.row["log_z"] for trial in found.trials if trial.row["verdict"] == "reliable")
    for trial in found.trials:
        near, fine = trial.row["log_z"] >= top - 1, trial.row["verdict"] == "reliable"
        expected = {"log_z >= best - 1": near, "reliable": fine}
        assert list(trial.violated) == [text for text, meets in expected.items() if not meets]
    assert found.best is not None
    assert found.best.values[0] == min(trial.values[0] for trial in found.trials if trial.meets)
    assert min(trial.values[0] for trial in found.trials) < found.best.values[0]
    study = study_of(tmp_path / "sweep")
    assert study.metric_names == ["left"]
    assert [trial.values[0] for trial in study.trials] == [trial.values[0] for trial in found.trials]
    assert all(set(trial.constraints) == {"log_z >= best - 1", "reliable"} for trial in study.trials)
    assert (
        study.trials[3].user_attrs.items()
        >= {"log_z": found.trials[3].row["log_z"], "member": found.trials[3].name}.items()
    )


def test_the_sampler_looks_where_constraints_hold(run: Any) -> None:
    """Without the constraint the bottom is at -2; with it, x is at least 0."""
    found = run(40, constraints=["right <= best + 4"])
    late = sorted(params["x"] for params in chosen(found)[25:])
    assert late[len(late) // 2] > -1.0
    assert found.best is not None
    assert found.best.params["x"] > -0.1


def test_the_sampler_knows_a_best_value_that_has_risen_since(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trials set no standard: they are judged again by the best of all that is known."""
    told: list[list[Any]] = []

    def noted(*given: Any) -> Any:
        told.append(list(given[4]))
        return ask(*given)

    monkeypatch.setattr("gammasky.distributed.tuning.sweep_driver.ask", noted)
    found = run(14, constraints=["log_z >= best - 1"])
    assert [len([entry for entry in known if entry.values]) for known in told] == [0, 0, 0, 0, *range(1, 11)]
    for known in told:
        log_z = [found.trials[entry.trial.number].row["log_z"] for entry in known if entry.values]
        assert [entry.violations[0] for entry in known if entry.values] == [max(log_z) - 1 - value for value in log_z]
    assert max(told[-1][0].violations) > max(told[4][0].violations)


def test_several_objectives(run: Any, tmp_path: Path) -> None:
    found = run(30, goals=[Goal("left", "minimize"), Goal("log_z", "maximize")], constraints=["right < 90"])
    meets = [trial for trial in found.trials if trial.meets]
    assert 0 < len(meets) < 30
    for trial in meets:
        beaten = any(
            other.values[0] <= trial.values[0] and other.values[1] >= trial.values[1] and other.values != trial.values
            for other in meets
        )
        assert trial.best == (not beaten)
    assert [trial.values[0] for trial in found.front] == sorted(trial.values[0] for trial in found.front)
    assert len(found.front) > 1
    with (tmp_path / "sweep" / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["best"]) for line in lines] == [int(trial.best) for trial in found.trials]
    assert [float(line["left"]) for line in lines] == [trial.values[0] for trial in found.trials]
    assert {line["violated"] for line in lines} == {"", "right < 90"}


def test_trials_without_a_value(run: Any, tmp_path: Path) -> None:
    kinds = CategoricalDistribution(("flat", "fails", "bare", "impossible"))
    found = run(24, distributions={"kind": kinds, **SPACE})
    assert len(found.trials) == 24
    errors = {"fails": "ValueError: no good", "bare": "the fit has no number 'left'",
              "impossible": "member 'it': cannot be", "flat": ""}  # fmt: skip
    assert {trial.params["kind"] for trial in found.trials} == set(errors)
    for trial in found.trials:
        assert trial.error == errors[trial.params["kind"]]
        assert bool(trial.values) == trial.meets == (trial.params["kind"] == "flat")
    again = run(24, distributions={"kind": kinds, **SPACE}, resume=True)
    assert [trial.error for trial in again.trials] == [trial.error for trial in found.trials]
    assert not any("impossible" in line for line in fits(tmp_path))


def test_a_trial_that_was_lost_is_begun_again(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.001)
    lost: list[str] = []

    def loses(job: Job) -> bool:
        lost.append(job.key)
        return job.key == lost[0]

    found = run(6, runner=Shuffled(0, 1, loses))
    assert [trial.error for trial in found.trials if trial.error] == ["lost 5 times, last: the node went"]
    assert lost.count(lost[0]) == 5
    again = run(6, resume=True)
    assert (chosen(again), len(fits(tmp_path))) == (chosen(found), 6)
    assert {trial.state.name for trial in study_of(tmp_path / "sweep").trials} == {"COMPLETE"}


ALL_FAIL = {"kind": CategoricalDistribution(("fails",)), **SPACE}


def test_one_error_of_all_ends_a_sweep_and_the_remedy_is_one(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: ModuleType
) -> None:
    with pytest.raises(GammaskyError, match=r"^10 fits .*: no good; .* `retry_failed=True` \(with `keep_going=True`"):
        run(12, distributions=ALL_FAIL)
    assert len(fits(tmp_path)) == 10
    assert len(run(12, distributions=ALL_FAIL, folder="whole", keep_going=True).trials) == 12
    (tmp_path / "log").unlink()
    monkeypatch.setattr(tasks, "GOOD", True)
    found = run(12, distributions=ALL_FAIL, resume=True, retry_failed=True)
    assert len(fits(tmp_path)) == 12
    assert [bool(trial.values) for trial in found.trials] == [False] * 10 + [True] * 12
    assert chosen(found)[-10:] == chosen(found)[:10]
    assert run(12, distributions=ALL_FAIL, resume=True, retry_failed=True).trials == found.trials


def test_a_full_disk_ends_a_sweep_at_once(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_arguments: object) -> NoReturn:
        raise OSError(28, "No space left on device", str(tmp_path / "sweep" / "trials.csv"))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", save)
        patch.setattr(sweep_module, "write_csv", save)
        with pytest.raises(GammaskyError, match=r"no room for results: .*; make room .* go on with `resume=True`"):
            run(6)
    assert len(fits(tmp_path)) == 1
    assert all(trial.values for trial in run(6, resume=True).trials)


def test_sqlite(run: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    one = run(6, storage=url, constraints=["reliable"])
    assert chosen(run(6, folder="journal", constraints=["reliable"])) == chosen(one)
    (name,) = optuna.get_all_study_names(url)
    study = optuna.load_study(study_name=name, storage=url)
    assert study.best_value == min(trial.values[0] for trial in one.trials if trial.meets)
    assert len(run(8, storage=url, constraints=["reliable"], resume=True).trials) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials: expected a whole number of at least 1, got 0"),
        ({"distributions": {}}, "no axis has more than one choice"),
        ({"goals": []}, "sweep: no objective; say what to `minimise` or `maximise`"),
        ({"ahead": 0}, "at_once: expected a whole number from 1 to 1000, got 0"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"sampler": "tbe"}, r"unknown sampler 'tbe'; did you mean 'tpe'\?"),
        ({"sampler": "cmaes"}, "sampler 'cmaes': needs the package cmaes; pip install cmaes, or take another"),
        ({"storage": "no url"}, "storage: expected a URL"),
        ({"resume": True}, "no search there; start it without `resume=True`"),
    ],
)
def test_what_is_refused(run: Any, tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(InputError, match=message):
        run(**changes)
    assert not (tmp_path / "sweep" / "trials.csv").exists()


def test_fits_side_by_side(run: Any, tmp_path: Path) -> None:
    one = run(12)
    assert chosen(run(12, folder="lanes", runner=InlineRunner(lanes=3))) == chosen(one)
    assert len(fits(tmp_path)) == 24
