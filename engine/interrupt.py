"""Ctrl-C and SIGTERM while compiled code runs: remember them, and act where nothing is lost.

Raised in the middle of a kernel callback, KeyboardInterrupt would come out of XLA as another error. So within
`Interrupts` a signal only sets a flag, and `check`, which stands between any two evaluations of a likelihood, raises
KeyboardInterrupt if the flag is set.

Signals reach the main thread alone. In another one an event takes their place, from whoever runs it: see `heeding`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_active: list[Interrupts] = []  # contexts of the main thread, the innermost last
_thread = threading.local()  # of each other thread, the event that it heeds
#: Threads whose names begin so work for a fit that may have ended; a process need not wait for them.
IN_ADVANCE = "gammasky-compile"
noticed = threading.Event()  # set once code that acts on a signal has seen it; see `commands.watch`


class Interrupts:
    """Context in which SIGINT and SIGTERM only set a flag; a second one acts at once."""

    def __init__(self) -> None:
        self._pending = False
        self._before: dict[int, Any] = {}

    @property
    def pending(self) -> bool:
        """Whether a signal has come; who asks is expected to act on it."""
        if self._pending:
            noticed.set()
        return self._pending or _told()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
            _active.append(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self in _active:
            _active.remove(self)
        if error is None:
            self.raise_if_pending()  # one that came after the last look

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._pending:
            raise KeyboardInterrupt
        self._pending = True

    def raise_if_pending(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.pending:
            raise KeyboardInterrupt


@contextmanager
def heeding(word: threading.Event) -> Iterator[None]:
    """Run the body, in a thread that is not the main one, so that the event is to it what a signal is to the other."""
    _thread.word = word
    try:
        yield
    finally:
        del _thread.word


def _told() -> bool:
    """Whether the event of this thread is set."""
    word = getattr(_thread, "word", None)
    return word is not None and word.is_set()


def pending() -> bool:
    """Whether a signal has come to an `Interrupts` that the main thread is in; elsewhere, the event of this thread."""
    if threading.current_thread() is threading.main_thread():
        return any(context.pending for context in _active)
    return _told()


def check() -> None:
    """Raise KeyboardInterrupt if `pending`.

    Called between any two evaluations of a likelihood, so that no loop over them keeps a user waiting.
    """
    if pending():
        raise KeyboardInterrupt
