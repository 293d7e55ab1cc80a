"""What a driver does in a folder, be it a campaign or a search: hold it, see that versions agree, have it all done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gammasky.distributed.driver import Driver
from gammasky.distributed.folder import Places
from gammasky.distributed.hold import Kind, clear, held
from gammasky.distributed.member import Resources, Task
from gammasky.distributed.runners.base import Runner, Work
from gammasky.distributed.software import check_allowed, difference
from gammasky.engine.errors import InputError


@dataclass(frozen=True)
class Undertaking:
    """A folder that is this driver's alone.

    Attributes:
        places: in it.
        software: the versions here, where results record them.
        allow_mixed: packages of which there may be several.
    """

    places: Places
    software: Mapping[str, str]
    allow_mixed: tuple[str, ...]

    def go_on(self, began_with: Mapping[str, str]) -> None:
        """Once there is a manifest: see that the versions are those with which it began, and clear up.

        Raises:
            InputError: there are others.
        """
        if mixed := difference(began_with, self.software, self.allow_mixed):
            raise InputError(f"{self.places.folder}: here is {mixed}")
        clear(self.places)

    def drive(
        self, driver: Driver, runner: Runner, task: Task, resources: Resources, others: Sequence[Resources] = ()
    ) -> None:
        """Have a driver's jobs done by a task; `others` are resources of jobs that ask for their own.

        Raises:
            InputError: no workers, or none that can be used; see `Driver.drive`.
        """
        kinds = tuple(dict.fromkeys(kind for kind in others if kind != resources))
        work = Work(task, self.places.folder, resources, self.software, self.allow_mixed, others=kinds)
        with runner.session(work) as session:
            driver.drive(session)


@contextmanager
def undertaken(
    folder: Path,
    kind: Kind,
    software: Mapping[str, str],
    *,
    resume: bool,
    grow: bool = False,
    allow_mixed: Sequence[str] = (),
) -> Iterator[Undertaking]:
    """Hold a folder, see `held`.

    Raises:
        InputError: the folder cannot be used, has another driver, or holds something else; or an unknown package.
    """
    check_allowed(allow_mixed)
    with held(folder, kind, resume=resume, grow=grow) as places:
        yield Undertaking(places, software, tuple(allow_mixed))
