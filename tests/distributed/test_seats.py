"""The driver's list of seats: a seat that fails twice ends its process, and what has failed goes to another place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from gammasky.distributed.runners import seats as module
from gammasky.distributed.runners.base import Job
from gammasky.distributed.runners.seats import Seat, Seats
from gammasky.engine.errors import InputError


class Office:
    """Seats whose processes are only noted."""

    def __init__(self, lanes: int = 1) -> None:
        self.opened: list[str] = []
        self.ended: list[str] = []
        self.avoided: list[list[str]] = []
        self.seats = Seats(self._open, lambda seat: self.ended.append(seat.name), lanes)

    def _open(self, name: str, apart: Iterable[str]) -> tuple[Any, Any]:
        self.opened.append(name)
        self.avoided.append(list(apart))
        return object(), object()

    def hire(self, count: int, *places: tuple[str, ...], waiting: Job | None = None) -> list[Seat]:
        """As many seats in all, for members like this one; those that are new are at these places."""
        before = list(self.seats.seats)
        queue = [waiting or job()] * (count - sum(len(seat.at_work) for seat in self.seats.seats))
        self.seats.hire(count, queue, ["a", "b"])
        new = [seat for seat in self.seats.seats if seat not in before]
        for seat, (node, *gpus) in zip(new, places, strict=False):
            self.seats.opened(seat, {"node": node, "host": f"host-{node}", "pid": 1, "gpus": gpus}, ["a", "b"])
        return new

    def did(self, seat: Seat, done: bool) -> None:
        """A seat has ended its work on what it began with last, or on another member."""
        reference = next(reversed(seat.at_work), None) or self.begin(seat)
        self.seats.did(seat, reference, done)

    def begin(self, seat: Seat, key: str = "k") -> object:
        """A seat begins with a member."""
        reference = object()
        seat.at_work[reference] = (Job(key, "m", {}, structure="alike"), 0.0)
        return reference


@pytest.fixture
def office() -> Office:
    return Office()


def job(*avoid: Seat) -> Job:
    return Job("k", "m", {}, avoid=tuple(seat.name for seat in avoid))


def test_two_failures_in_a_row_end_a_process(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    (seat,) = office.hire(1, ("a", "0"))
    for done in (False, True, False):
        office.did(seat, done)
    assert office.ended == []
    office.did(seat, False)
    assert office.ended == ["seat 1"]
    assert office.hire(1) == []  # a process in its place has to wait,
    now[0] += 1.5
    (seat,) = office.hire(1, ("a", "0"))
    for _ in range(2):
        office.did(seat, False)
    now[0] += 1.5
    assert office.hire(1) == []  # and the one after it twice as long;
    assert len(office.hire(2, ("a", "1"))) == 1  # but no other place does
    now[0] += 1.0
    assert len(office.hire(2, ("a", "0"))) == 1
    office.did(office.seats.seats[-1], True)  # it is as good as any other from now on
    for _ in range(2):
        office.did(office.seats.seats[-1], False)
    now[0] += 1.1
    assert len(office.hire(2)) == 1


def test_what_has_failed_goes_elsewhere(office: Office) -> None:
    first, second, other = office.hire(3, ("a", "0"), ("a", "0"), ("a", "1"))
    seats = office.seats
    assert seats.may_take(first, job())
    assert not seats.may_take(first, job(first))
    assert not seats.may_take(second, job(first))  # the same device: it may be the one to blame
    assert seats.may_take(other, job(first))
    seats.dismiss(other)
    assert seats.may_take(second, job(first))  # there is no other device


def test_what_has_failed_waits_for_a_seat_that_opens(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """All other nodes were just lost: the one where it failed is not the only one for long."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    first, second = office.hire(2, ("a",), ("a",))
    assert office.seats.may_take(second, job(first))
    office.hire(3)  # no place yet
    assert not office.seats.may_take(second, job(first))
    now[0] += module.SLOW_SECONDS + 1  # it waits for room
    assert office.seats.may_take(second, job(first))


def test_what_has_failed_waits_while_no_seat_may_be_opened(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seat was lost while it opened: another one is asked for a moment later."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    first, second = office.hire(2, ("a",), ("a",))
    (lost,) = office.hire(3)
    office.seats.stumbled(lost, "killed")
    office.hire(3)
    assert not office.seats.may_take(second, job(first))
    office.hire(2)  # no third one is wanted
    assert office.seats.may_take(second, job(first))


def test_a_new_seat_is_not_where_all_that_waits_has_failed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    (bad,) = office.hire(1, ("a",))
    failed = job(bad)
    assert office.seats.needs_fresh(bad, [failed])
    office.seats.dismiss(bad)
    (other,) = office.hire(1, waiting=failed)
    assert office.avoided == [[], ["a"]]
    now[0] += module.SLOW_SECONDS + 1  # there is no room on "b": better there than nowhere
    (again,) = office.hire(1, ("a",), waiting=failed)
    assert office.ended == [bad.name, other.name]
    assert office.avoided[-1] == []
    assert office.seats.may_take(again, failed)
    office.seats.dismiss(again)
    (elsewhere,) = office.hire(1, ("b",), waiting=failed)
    assert office.avoided[-1] == ["a"]
    office.seats.dismiss(elsewhere)
    office.hire(1, waiting=job(bad, elsewhere))  # it has failed on both
    assert office.avoided[-1] == []


def test_a_fresh_process_where_there_is_no_other_seat(office: Office) -> None:
    (one,) = office.hire(1, ("a",))
    assert office.seats.needs_fresh(one, [job(one)])
    assert not office.seats.needs_fresh(one, [])
    (other,) = office.hire(2, ("b",))
    assert not office.seats.needs_fresh(one, [job(one)])  # that one is free
    assert office.seats.needs_fresh(one, [job(one, other)])  # which is of no use
    office.begin(other)
    assert not office.seats.needs_fresh(one, [job(one)])  # it will be
    assert office.seats.needs_fresh(one, [job(one, other)])


def test_seats_for_which_there_is_no_room_are_not_waited_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where others use the cluster, or an autoscaler has no more nodes."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    one, _waits = office.hire(2, ("a",))
    assert not office.seats.needs_fresh(one, [job(one)])
    now[0] += module.SLOW_SECONDS + 1
    assert office.seats.needs_fresh(one, [job(one)])
    assert office.hire(2) == []
    office.hire(1)  # less is left to do
    assert (office.seats.seats, office.ended) == ([one], ["seat 2"])


def test_a_node_set_apart_is_named_and_not_used(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good, worse = office.hire(3, ("a",), ("b",))
    said = {"node": "a", "host": "host-a", "apart": "folder: not there"}
    office.seats.opened(worse, said, ["a", "b"])
    assert capsys.readouterr().err == "gammasky: warning: node host-a is set apart: folder: not there\n"
    assert office.seats.seats == [good]  # what was free there is ended, too
    assert bad.name in office.ended
    office.hire(2)
    assert office.avoided[-1] == ["a"]
    with pytest.raises(InputError, match=r"^task: no; so it is on each of the 2 nodes$"):
        office.seats.set_apart(good, "b", "host-b", "task: no", ["a", "b"])


def test_a_busy_seat_on_a_node_set_apart_ends_its_work_first(office: Office) -> None:
    busy, lost = office.hire(2, ("a",))
    office.begin(busy)
    office.seats.opened(lost, {"node": "a", "host": "host-a", "apart": "no"}, ["a", "b"])
    assert office.seats.seats == [busy]
    office.did(busy, True)
    assert office.seats.seats == []


def test_seats_that_cannot_open(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for _ in range(4):
        (seat,) = office.hire(1)
        office.seats.stumbled(seat, "killed")
        assert office.hire(1) == []
        now[0] += 31
    (seat,) = office.hire(1)
    with pytest.raises(InputError, match=r"^workers: none can be started, 5 in a row have failed: killed$"):
        office.seats.stumbled(seat, "killed")


def test_members_side_by_side_are_of_one_structure() -> None:
    """As many as there are lanes. One that was lost may take its process along, and is alone."""
    office = Office(lanes=2)
    (seat,) = office.hire(1, ("a",))
    alike, other, alone = (Job("new", "m", {}, structure=structure) for structure in ("alike", "other", None))
    lost = replace(alike, attempt=2)
    assert all(office.seats.may_take(seat, job) for job in (alike, other, alone, lost))
    office.begin(seat)
    assert [office.seats.may_take(seat, job) for job in (alike, other, alone, lost)] == [True, False, False, False]
    assert office.seats.may_take(seat, replace(alike, attempt=2, failures=1))  # which has failed, but harmed nobody
    office.begin(seat)
    assert not office.seats.may_take(seat, alike)
    seat.at_work = {object(): (lost, 0.0)}
    assert not office.seats.may_take(seat, alike)


def test_a_seat_that_fails_ends_when_its_last_lane_does() -> None:
    office = Office(lanes=3)
    (seat,) = office.hire(1, ("a",))
    references = [office.begin(seat, str(number)) for number in range(3)]
    office.seats.did(seat, references[0], False)
    office.seats.did(seat, references[1], False)
    assert not office.seats.may_take(seat, Job("new", "m", {}, structure="alike"))
    assert office.ended == []
    office.seats.did(seat, references[2], False)
    assert office.ended == ["seat 1"]
