"""What a driver makes of outcomes, with no workers at all: what is tried again, given up, or ends everything."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gammasky.distributed import driver
from gammasky.distributed.driver import Driver
from gammasky.distributed.folder import Places
from gammasky.distributed.runners.base import Job, Outcome, Running, Session
from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.interrupt import Interrupts

Answer = Callable[[Job], Outcome]


class Answers:
    """A session whose jobs end as an answer says."""

    def __init__(self, answer: Answer, *, elsewhere: bool = True) -> None:
        self._answer, self._elsewhere = answer, elsewhere
        self._queue: deque[Job] = deque()
        self.submitted: list[Job] = []
        self.stopped = False

    def interrupts(self) -> Interrupts:
        return Interrupts()

    def slots(self) -> int:
        return 2

    def room(self) -> int:
        return 2 - len(self._queue)

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        self._queue.append(job)

    def poll(self, seconds: float) -> list[tuple[Job, Outcome]]:  # noqa: ARG002
        if not self._queue:
            return []
        job = self._queue.popleft()
        return [(job, self._answer(job))]

    def running(self) -> list[Running]:
        return []

    def tries_elsewhere(self) -> bool:
        return self._elsewhere

    def leave_room(self) -> None: ...

    def stop(self) -> None:
        self.stopped = True


class Jobs(Driver):
    def __init__(self, folder: Path, count: int, *, keep_going: bool = False) -> None:
        super().__init__(Places(folder), keep_going=keep_going)
        self.waiting.extend(Job(f"k{n}", f"m{n}", {"number": n}) for n in range(count))
        self.outcomes: dict[str, Outcome] = {}

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.key] = outcome

    def turn(self, session: Session) -> None:
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 0.001)


def seat_of(job: Job) -> str:
    return f"seat {job.attempt}"


def ends(*endings: str) -> Answer:
    """By attempt; the last one again and again."""

    def answer(job: Job) -> Outcome:
        ending = endings[min(job.attempt, len(endings)) - 1]
        return Outcome(ending, attempts=job.attempt, error=f"{ending} {job.attempt}", seat=seat_of(job))  # type: ignore[arg-type]

    return answer


@pytest.mark.parametrize(
    ("endings", "ending", "attempts"),
    [
        (["done"], "done", 1),
        (["failed", "done"], "done", 2),
        (["failed", "failed", "done"], "failed", 2),
        (["late", "failed", "done"], "failed", 2),
        (["late", "done"], "done", 2),
        (["lost", "failed", "lost", "done"], "done", 4),
        (["failed", "lost", "failed", "done"], "failed", 3),
        (["lost"] * 4 + ["done"], "done", 5),
        (["lost"] * 5 + ["done"], "lost", 5),
    ],
)
def test_failed_on_two_seats_or_lost_five_times(endings: list[str], ending: str, attempts: int, tmp_path: Path) -> None:
    jobs, session = Jobs(tmp_path, 1), Answers(ends(*endings))
    jobs.drive(session)
    (outcome,) = jobs.outcomes.values()
    assert (outcome.ending, outcome.attempts) == (ending, attempts)
    assert [job.avoid for job in session.submitted] == [
        tuple(f"seat {n + 1}" for n in range(k)) for k in range(attempts)
    ]
    if ending == "lost":
        assert outcome.error == "lost 5 times, last: lost 5"


def test_where_there_is_one_seat_a_failure_is_final(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 1)
    jobs.drive(Answers(ends("failed", "done"), elsewhere=False))
    assert jobs.outcomes["k0"].attempts == 1


def test_what_failed_waits_for_the_others(tmp_path: Path) -> None:
    session = Answers(lambda job: Outcome("failed" if job.key == "k0" else "done", error="no", seat=seat_of(job)))
    Jobs(tmp_path, 4).drive(session)
    assert [job.key for job in session.submitted] == ["k0", "k1", "k2", "k3", "k0"]


def test_one_error_of_all_stops_the_campaign_with_its_text(tmp_path: Path) -> None:
    """Texts that differ in their numbers are alike."""
    jobs = Jobs(tmp_path, 100)

    def answer(job: Job) -> Outcome:
        if job.spec["number"] < 5:
            return Outcome("done")
        return Outcome("failed", error=f"ValueError: number {job.spec['number']} at 0x7f{job.spec['number']}", seat="s")

    session = Answers(answer)
    with pytest.raises(GammaskyError, match=r"^10 fits have failed with the same error, .*: ValueError: nu"):
        jobs.drive(session)
    assert session.stopped
    assert len(jobs.outcomes) == 15


@pytest.mark.parametrize(("bad", "keep_going"), [(11, False), (30, True)])
def test_some_that_fail_alike_stop_nothing(bad: int, keep_going: bool, tmp_path: Path) -> None:
    """Where as many are done, or where it is asked for."""
    jobs = Jobs(tmp_path, 30, keep_going=keep_going)
    session = Answers(lambda job: Outcome("failed" if 30 - job.spec["number"] <= bad else "done", error="no", seat="s"))
    jobs.drive(session)
    assert sum(outcome.ending == "failed" for outcome in jobs.outcomes.values()) == bad


def test_a_full_disk_hands_out_no_more_work(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 20)
    session = Answers(lambda job: Outcome("full" if job.key == "k3" else "done", error="[Errno 28] No space left"))
    with pytest.raises(
        GammaskyError, match=r"no room for results: .*No space left \([\d.]+ GB free there\); make room or"
    ):
        jobs.drive(session)
    assert session.stopped
    assert len(session.submitted) <= 6
    assert sorted(jobs.outcomes) == ["k0", "k1", "k2"]


def test_a_disk_that_is_full_for_the_driver(tmp_path: Path) -> None:
    class Full(Jobs):
        def turn(self, session: Session) -> None:  # noqa: ARG002
            if self.outcomes:
                raise OSError(errno.EDQUOT, "Disk quota exceeded", str(self.places.table))

    session = Answers(ends("done"))
    with pytest.raises(GammaskyError, match=r"no room for results: .*quota exceeded.* and go on with `resume=True`: "):
        Full(tmp_path, 20).drive(session)
    assert session.stopped


def test_a_job_of_a_node_set_apart_goes_on_elsewhere(tmp_path: Path) -> None:
    answers = iter(["apart", "done"])
    session = Answers(lambda _job: Outcome(next(answers), error="folder: not there"))  # type: ignore[arg-type]
    jobs = Jobs(tmp_path, 1)
    jobs.drive(session)
    assert [job.attempt for job in session.submitted] == [1, 1]
    with pytest.raises(InputError, match=r"^folder: not there$"):
        Jobs(tmp_path, 1).drive(Answers(lambda _job: Outcome("apart", error="folder: not there"), elsewhere=False))


def test_each_loss_waits_twice_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "BACKOFF_SECONDS", 1.0)
    now, turns = [0.0], []
    monkeypatch.setattr(driver.time, "monotonic", lambda: now[0])

    class Noted(Jobs):
        def turn(self, session: Session) -> None:  # noqa: ARG002
            now[0] += 0.25

    def answer(job: Job) -> Outcome:
        turns.append(now[0])
        return ends("lost", "lost", "lost", "done")(job)

    Noted(tmp_path, 1).drive(Answers(answer))
    gaps = [later - earlier for earlier, later in pairwise(turns)]
    assert [round(gap) for gap in gaps] == [1, 2, 4]
