"""A search in one process: trials end early or whole, and resume where a driver was killed."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from gammasky.distributed import driver, software
from gammasky.distributed.folder import Places
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.runners.inline import InlineRunner, InlineSession
from gammasky.distributed.tuning.search import Found
from gammasky.distributed.tuning.trial_store import JOURNAL, mend_journal, open_journal
from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.machine import versions

SPACE = {"x": FloatDistribution(-10.0, 10.0)}
Search = Callable[..., Found]


def rungs(tmp_path: Path) -> list[tuple[str, int, int]]:
    """(x, steps before, steps after) of each rung, in the order in which they were done."""
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return [(x, int(before), int(after)) for x, before, after, _ in lines]


def table(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "study" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def study_of(folder: Path) -> Any:
    """The study in a folder, by Optuna alone, as optuna-dashboard opens it."""
    import optuna

    storage = open_journal(folder / JOURNAL)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_few_choices_are_all_tried_once(search: Search) -> None:
    """40 trials of 6 choices at random would leave some out and repeat others."""
    space = {"x": CategoricalDistribution((-4.0, 0.5, 3.0)), "n": IntDistribution(1, 3, step=2)}
    found = search(40, space=space)
    tried = sorted((trial.params["x"], trial.params["n"]) for trial in found.trials)
    assert tried == [(x, n) for x in (-4.0, 0.5, 3.0) for n in (1, 3)]
    assert found.best is not None
    assert found.best.params["x"] == 3.0
    assert len(search(40, space=space, resume=True).trials) == 6


def test_choices_that_chance_left_out_are_tried_when_the_search_grows(search: Search) -> None:
    space = {"x": CategoricalDistribution((-4.0, 0.5, 3.0, 7.0))}
    before = search(3, space=space).trials
    found = search(40, space=space, resume=True).trials
    assert found[:3] == before
    assert {trial.params["x"] for trial in found} == {-4.0, 0.5, 3.0, 7.0}
    assert len(found) == 4 + 3 - len({trial.params["x"] for trial in before})


def test_finds_the_bottom_with_less_than_all_the_work(search: Search, tmp_path: Path) -> None:
    found = search(24)
    assert [trial.number for trial in found.trials] == list(range(24))
    assert found.best is not None
    assert abs(found.best.params["x"] - 3.0) < 1.5
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.rung < 8 for trial in pruned)
    assert all(trial.rung == 8 for trial in found.trials if trial.state == "complete")
    steps = sum(after - before for _, before, after in rungs(tmp_path))
    assert steps == sum(trial.rung * 10 for trial in found.trials) == round(found.rungs_done * 80)
    assert steps < 24 * 80 / 2
    assert not list(Places(tmp_path / "study").scratch.iterdir())


def test_later_trials_learn_from_earlier_ones(search: Search) -> None:
    """Half of a random search's would lie further from the bottom than 3.5 of 13."""
    distances = sorted(abs(trial.params["x"] - 3.0) for trial in search(40).trials[10:])
    assert distances[15] < 3.0


def test_trials_say_with_what_they_were_made(
    search: Search, tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And other versions are not mixed in, unless a user says so by name."""
    task = tasks.Told(str(tmp_path / "log"))
    (trial,) = search(1, objective=task).trials
    assert trial.row.items() >= {"backend": "0 GPUs", **versions()}.items()
    monkeypatch.setattr(software, "versions", lambda: {**versions(), "version_jax": "0.1"})
    monkeypatch.setattr(tasks, "versions", software.versions)
    with pytest.raises(InputError, match=r"study: here is jax 0.1, but the campaign's fits are made with jax "):
        search(2, objective=task, resume=True)
    assert len(search(2, objective=task, resume=True, allow_mixed=["jax"]).trials) == 2


def test_each_rung_goes_on_from_the_one_before(search: Search, tmp_path: Path) -> None:
    search(1)
    assert [done[1:] for done in rungs(tmp_path)] == [(0, 10), (10, 20), (20, 40), (40, 80)]


def test_the_table_and_the_study_say_the_same(search: Search, tmp_path: Path) -> None:
    found = search(6)
    lines, study = table(tmp_path), study_of(tmp_path / "study")
    assert [float(line["value"]) for line in lines] == [trial.value for trial in found.trials]
    assert [int(line["steps"]) for line in lines] == [10 * trial.rung for trial in found.trials]
    assert [trial.state.name.lower() for trial in study.trials] == [line["state"] for line in lines]
    assert study.best_value == max(trial.value for trial in found.trials if trial.state == "complete")


def test_the_first_settings_are_trial_0_and_never_ended_early(search: Search) -> None:
    found = search(10, first=[{"x": 9.9}, {"x": 3.0}])
    assert [found.trials[n].params["x"] for n in (0, 1)] == [9.9, 3.0]
    assert [found.trials[n].state for n in (0, 1)] == ["complete", "complete"]


def test_minimising(search: Search, tasks: ModuleType, tmp_path: Path) -> None:
    found = search(10, direction="minimize", first=[{"x": 3.0}])
    assert found.best is not None
    assert found.best.value == min(trial.value for trial in found.trials if trial.state == "complete")
    assert abs(found.best.params["x"] - 3.0) > 2.0
    assert max(after for _, _, after in rungs(tmp_path)) == tasks.EFFORT


def test_the_same_seed_is_the_same_search(search: Search, tmp_path: Path) -> None:
    one, two = (search(6, folder=tmp_path / name, seed=5).trials for name in ("one", "two"))
    assert [trial.params for trial in one] == [trial.params for trial in two]
    other = search(6, folder=tmp_path / "three", seed=6).trials
    assert one[0].params != other[0].params


def test_trials_may_grow_and_are_not_the_first_again(search: Search, tmp_path: Path) -> None:
    search(4)
    before = (tmp_path / "log").read_text()
    found = search(9, resume=True)
    assert len({trial.params["x"] for trial in found.trials}) == 9
    assert (tmp_path / "log").read_text().startswith(before)
    assert search(9, resume=True).trials == found.trials


def test_equal_settings_are_done_once(search: Search, tmp_path: Path) -> None:
    found = search(6, {"x": CategoricalDistribution(tuple(range(7)))})
    assert len(found.trials) == 6
    assert len({trial.params["x"] for trial in found.trials}) < 6
    assert len(rungs(tmp_path)) == len(set(rungs(tmp_path)))


@pytest.mark.parametrize(
    ("deed", "state", "error"), [("run away", "pruned", "ran away"), ("fail", "failed", "no good")]
)
def test_a_trial_without_a_value(search: Search, tmp_path: Path, deed: str, state: str, error: str) -> None:
    space = {**SPACE, "do": CategoricalDistribution(("nothing", deed))}
    found = search(3, space, first=[{"x": 1.0, "do": deed}, {"x": 1.0, "do": "nothing"}])
    assert (found.trials[0].state, found.trials[0].value) == (state, None)
    assert error in found.trials[0].error
    assert error in table(tmp_path)[0]["error"]
    assert found.best is not None
    assert len(found.trials) == 3


def test_a_trial_may_end_before_its_last_rung(search: Search) -> None:
    space = {**SPACE, "do": CategoricalDistribution(("short",))}
    found = search(3, space)
    assert [(trial.state, trial.rung) for trial in found.trials] == [("complete", 1)] * 3


KILLED = """
import sys
sys.path.insert(0, {here!r})
from tuning_tasks import Valley
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.tuning.search import tune
from optuna.distributions import FloatDistribution
space = {{"x": FloatDistribution(-10.0, 10.0)}}
tune({folder!r}, Valley({log!r}, {kill!r}), space, 8, InlineRunner(), about={{"valley": 1}}, quiet=True)
"""


@pytest.mark.parametrize("after", [0, 2, 6])
def test_a_killed_driver_loses_nothing(search: Search, tmp_path: Path, after: int) -> None:
    folder, kill = tmp_path / "study", tmp_path / "kill"
    kill.write_text(f"{after:8d}")
    names = {"here": str(Path(__file__).parent), "folder": str(folder), "log": str(tmp_path / "log"), "kill": str(kill)}
    ended = subprocess.run([sys.executable, "-c", KILLED.format(**names)], timeout=60, check=False)
    assert ended.returncode == -9
    study = study_of(folder)
    before = {trial.number: trial.params for trial in study.trials if trial.state.is_finished()}
    (running,) = [trial for trial in study.trials if trial.state.name == "RUNNING"]
    with (folder / JOURNAL).open("ab") as file:  # what a driver killed while it writes leaves
        file.write(b'{"op_code": 5, "trial_id"')
    (folder / f"{JOURNAL}.lock").symlink_to(folder / JOURNAL)

    found = search(8, resume=True)
    assert len(found.trials) == 8
    kept = {trial.number: trial.params for trial in found.trials}
    assert before.items() <= kept.items()
    assert running.number not in kept
    assert running.params in kept.values()
    assert study_of(folder).trials[running.number].state.name == "FAIL"
    assert len(rungs(tmp_path)) == len(set(rungs(tmp_path)))  # no rung was done twice


def test_an_interrupted_search_goes_on(search: Search, tasks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(1, objective=tasks.interrupted_once, first=[{"x": 2.0}])
    assert table(tmp_path) == []
    found = search(1, objective=tasks.interrupted_once, first=[{"x": 2.0}], resume=True)
    assert [(trial.number, trial.value) for trial in found.trials] == [(1, 2.0)]


class Noting(InlineRunner):
    """Notes the jobs that it is given; those that `lost` says go with their worker."""

    def __init__(self, lost: Callable[[Job], bool] = lambda _job: False) -> None:
        super().__init__()
        self.lost, self.jobs = lost, list[Job]()

    @contextmanager
    def session(self, work: Work) -> Iterator[InlineSession]:
        runner = self

        class Session(InlineSession):
            def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:
                runner.jobs.extend(self._queue)
                if self._queue and runner.lost(self._queue[0]):
                    return [(self._queue.popleft(), Outcome("lost", error="the node went"))]
                return super().poll(seconds)

        yield Session(work)


def test_a_trial_that_was_lost_goes_on_from_its_checkpoint(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.001)
    runner = Noting(lambda job: job.name == "trial 1, rung 4")
    found = search(3, first=[{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], runner=runner)
    assert [trial.number for trial in found.trials] == [0, 2]
    assert sum(job.name == "trial 1, rung 4" for job in runner.jobs) == 5
    again = search(3, first=[{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], resume=True).trials
    assert [(trial.number, trial.params["x"], trial.state) for trial in again] == [
        (0, 1.0, "complete"), (2, 3.0, "complete"), (3, 2.0, "complete"),
    ]  # fmt: skip
    assert [done for done in rungs(tmp_path) if done[0] == "2.0"] == [
        ("2.0", 0, 10), ("2.0", 10, 20), ("2.0", 20, 40), ("2.0", 40, 80),
    ]  # fmt: skip


def test_one_error_of_all_ends_a_search_and_the_remedy_is_one(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: ModuleType
) -> None:
    space = {**SPACE, "do": CategoricalDistribution(("fail",))}
    with pytest.raises(
        GammaskyError, match=r"^10 fits .*: ValueError: no good; .* `retry_failed=True` \(with `keep_going=True`"
    ):
        search(12, space=space)
    assert len(table(tmp_path)) == 10
    assert len(search(12, space=space, folder=tmp_path / "whole", keep_going=True).trials) == 12
    monkeypatch.setattr(tasks, "GOOD", True)
    found = search(12, space=space, resume=True, retry_failed=True).trials
    assert [trial.state == "failed" for trial in found] == [True] * 10 + [False] * 12
    assert [trial.params for trial in found[10:20]] == [trial.params for trial in found[:10]]
    assert search(12, space=space, resume=True, retry_failed=True).trials == found


def test_a_rung_has_the_time_limit_of_a_member(search: Search, tmp_path: Path) -> None:
    """Else one that hangs holds up the whole search."""
    cost = {1.0: 10.0, 2.0: 1000.0}
    first = [{"x": 1.0}, {"x": 2.0}]
    runner = Noting()
    search(2, first=first, cost=lambda params: cost[params["x"]], runner=runner)
    limits = {job.spec["params"]["x"]: job.limit for job in runner.jobs}
    assert limits == {1.0: 3600.0, 2.0: 20_000.0}
    search(2, first=first, folder=tmp_path / "said", runner=runner, resources=Resources(hours=2))
    assert runner.jobs[-1].limit == 7200.0


def test_a_torn_line_is_cut_and_a_whole_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    for content, left in ((b"one\ntwo\n", b"one\ntwo\n"), (b"one\ntw", b"one\n"), (b"on", b""), (b"", b"")):
        path.write_bytes(content)
        mend_journal(path)
        assert path.read_bytes() == left


def test_sqlite_by_url(search: Search, tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'study.db'}"
    search(3, storage=url)
    assert not (tmp_path / "study" / JOURNAL).exists()
    with pytest.raises(InputError, match=r"holds another search: storage was \"sqlite:///.*, is null; resume"):
        search(4, resume=True)
    found = search(4, storage=url, resume=True)
    assert len(found.trials) == 4
    search(2, storage=url, folder=tmp_path / "other" / "study")  # two folders of one name in one database
    assert len(optuna.get_all_study_names(url)) == 2
