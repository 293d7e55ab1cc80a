"""Optuna's study of a search: a journal in the folder, or a database by its URL. Only the driver opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gammasky.engine.errors import InputError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
ERROR = "error"  # the attribute of a trial that has failed by itself
CONNECT_SECONDS = 10
DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary"}  # module -> package: SQLAlchemy changed over


def open_study(
    folder: Path, name: str, database: BaseStorage | None, directions: Sequence[str], *, resume: bool
) -> Study:
    """The study of a search, made or gone on with.

    Args:
        folder: of the search, held by this driver.
        name: of the study, unique in its database.
        database: where it is kept; None: a journal in the folder.
        directions: "maximize" or "minimize", of each objective.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_journal(folder / JOURNAL) if database is None else database
    # a driver that was killed between its manifest and its study has none to resume
    goals = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
    return optuna.create_study(storage=storage, study_name=name, directions=goals, load_if_exists=resume)


def open_journal(path: Path) -> BaseStorage:
    """The storage of a journal file, mended.

    A driver that was killed while it wrote may leave half a line, to which the next one would be joined, and a lock
    that nobody holds: the folder has its own.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.exists():
        mend_journal(path)
    Path(f"{path}.lock").unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


def mend_journal(path: Path) -> None:
    """Cut a last line that has no end."""
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


def open_database(url: str) -> BaseStorage:
    """The storage of a database.

    Raises:
        InputError: no URL, no driver for it, or no database that answers; without the password.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        shown = make_url(url).render_as_string(hide_password=True)
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        raise InputError(
            f"storage: expected a URL such as sqlite:///study.db or postgresql://user@host/name, got '{url}'"
        ) from None
    # else a host that drops packets is waited for for minutes
    arguments = {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if backend in ("postgresql", "mysql") else {}
    try:
        return RDBStorage(url, engine_kwargs=arguments)
    except (NoSuchModuleError, ImportError) as error:
        cause = error.__cause__ or error  # Optuna's own text does not say which module it is
        line = str(cause).strip().partition("\n")[0]
        package = DRIVERS.get(getattr(cause, "name", None) or "")
        remedy = f"pip install '{package}'" if package else "install one, or leave `storage` out"
        raise InputError(f"storage: no driver for {shown}: {line}; {remedy}") from error
    except (SQLAlchemyError, RuntimeError) as error:
        line = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise InputError(
            f"storage: no database answers at {shown}: {line}; start it, correct the URL, or leave `storage` out"
            " for a file in the folder"
        ) from error


@contextmanager
def in_use(database: BaseStorage | None) -> Iterator[None]:
    """Say in one line that a database went away while it was used; in the end, close its connections.

    Raises:
        InputError: it does not answer any more.
    """
    from optuna.storages import RDBStorage

    if not isinstance(database, RDBStorage):
        yield
        return
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        line = str(getattr(error.__cause__ or error, "orig", error)).strip().partition("\n")[0]
        shown = database.engine.url.render_as_string(hide_password=True)
        raise InputError(
            f"storage: {shown} does not answer any more: {line}; once it does, go on with `resume=True`"
        ) from error
    finally:
        database.remove_session()
        database.engine.dispose()


def shown_url(url: str | None) -> str | None:
    """A URL that may be written down: without its password.

    Raises:
        InputError: no URL.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return url and make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise InputError(f"storage: expected a URL such as sqlite:///study.db, got '{url}'") from None


def begin_orphans_again(study: Study) -> int:
    """Fail the trials that a killed driver has left running, and enqueue their settings again; returns their number.

    What they have reached is in the folder, so they go on from there. They are enqueued first: a driver killed in
    between begins one twice, which costs nothing, instead of never.
    """
    from optuna.trial import TrialState

    orphans = study.get_trials(states=(TrialState.RUNNING,))
    for trial in orphans:
        if ERROR not in trial.user_attrs and trial.params:
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)
    return len(orphans)


def begin_failed_again(study: Study) -> int:
    """Enqueue the settings of trials that have failed, unless they were tried since; returns the number that failed.

    A trial that has failed stays so in its study, and another one has its settings.
    """
    trials = study.get_trials(deepcopy=False)
    failed = [trial for trial in trials if trial.state.name == "FAIL" and ERROR in trial.user_attrs]
    tried = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials if trial.state.name != "FAIL"]
    for trial in failed:
        if trial.params not in tried:
            study.enqueue_trial(trial.params)
            tried.append(trial.params)
    return len(failed)


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial has ended by itself, and not with its driver."""
    return trial.state.name in ("COMPLETE", "PRUNED") or (trial.state.name == "FAIL" and ERROR in trial.user_attrs)
