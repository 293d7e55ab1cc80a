"""Members in this process under the watch of the command line: whose signal is it, and who acts on it?"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gammasky.commands import watch
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.distributed.runners.inline import InlineSession
from gammasky.engine.interrupt import noticed

Attempt = Callable[..., Outcome]


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes by which the watch, an impatient one, would have ended this process."""
    found: list[int] = []
    monkeypatch.setattr(watch, "PATIENCE", 0.1)
    monkeypatch.setattr(watch.os, "_exit", found.append)
    return found


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """`attempt(deed, limit)`: how a member ends that does this."""
    (tmp_path / "manifest.json").touch()

    def one(deed: Callable[[], Any], limit: float = 60.0) -> Outcome:
        session = InlineSession(Work(lambda _spec, _desk: deed(), tmp_path, Resources()))
        with watch.answered(), session.interrupts():
            session.submit(Job("0" * 32, "one", {}, limit=limit))
            [(_, outcome)] = session.poll(0.0)
            assert not noticed.is_set()
        return outcome

    return one


def deaf() -> None:
    """A second, more or less, in which Python hears of no signal: as a compiler."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)


def test_the_signal_of_a_time_limit_ends_no_process(attempt: Attempt, codes: list[int]) -> None:
    assert attempt(deaf, limit=0.05).ending == "late"
    assert codes == []


def test_a_user_is_heard_beside_a_time_limit(attempt: Attempt, codes: list[int]) -> None:
    user = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    user.start()
    with pytest.raises(KeyboardInterrupt):
        attempt(deaf, limit=0.05)
    assert codes == [130]


def test_what_a_signal_has_made_of_a_member_is_no_failure(attempt: Attempt) -> None:
    def turned() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("of XLA") from None

    with pytest.raises(KeyboardInterrupt):
        attempt(turned)
