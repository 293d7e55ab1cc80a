"""Attempts at members side by side in one process, each in a thread of its own: a lane."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from gammasky.distributed.attempt import Tell, attempt
from gammasky.distributed.runners.base import Job, Outcome, Work
from gammasky.engine.interrupt import heeding


class Lanes:
    """Attempts in the threads of their callers, which can be told to end.

    Args:
        work: what to do. about: the software and device of this process.
    """

    def __init__(self, work: Work, about: Mapping[str, str]) -> None:
        self._work, self._about = work, about
        self._lock, self._over = threading.Lock(), False
        self._words: dict[str, threading.Event] = {}

    def attempt(self, job: Job, tell: Tell) -> Outcome:
        """One attempt at a member; see `attempt`."""
        word = threading.Event()
        with self._lock:
            if self._over:
                return told_to_end(job)
            self._words[job.key] = word
        try:
            with heeding(word):
                return attempt(self._work, job, tell, self._about, word.set)
        except KeyboardInterrupt:
            return told_to_end(job)
        finally:
            with self._lock:
                del self._words[job.key]

    def end(self) -> None:
        """Tell all members at work to end; no other begins."""
        with self._lock:
            self._over = True
            for word in self._words.values():
                word.set()


def told_to_end(job: Job) -> Outcome:
    """The outcome of a member that was told to end before it was done."""
    return Outcome("lost", attempts=job.attempt, error="told to end")
