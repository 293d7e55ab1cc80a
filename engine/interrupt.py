"""Ctrl-C and SIGTERM while compiled code runs: remember them, and act where nothing is lost.

Raised in the middle of a kernel callback, KeyboardInterrupt would come out of XLA as another error. So within
`Interrupts` a signal only sets a flag, and `check`, which stands between any two evaluations of a likelihood, raises
KeyboardInterrupt if the flag is set.

Signals reach the main thread alone. In another one an event takes their place, from whoever runs it: see `heeding`.

The command line watches over all this (`commands.watch`): it ends the process where a signal is not `noticed` in time.
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
noticed = threading.Event()  # set once code that acts on a signal has seen it
asked = threading.Event()  # set by the watch when somebody else than this process itself has sent a signal
_own: list[int] = []  # signals that this process has sent itself, and the watch has not met yet


class Interrupts:
    """Context in which SIGINT and SIGTERM only set a flag; a second one acts at once."""

    def __init__(self) -> None:
        self._pending = False
        self._before: dict[int, Any] = {}

    @property
    def pending(self) -> bool:
        """Whether a signal has come, to this context or to one around it; who asks is expected to act on it."""
        if self._pending or (_in_main_thread() and any(context._pending for context in _active)):
            noticed.set()
            return True
        return _told()

    def __enter__(self) -> Interrupts:
        if _in_main_thread():  # only there can handlers be set
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
    if _in_main_thread():
        return any(context.pending for context in _active)
    return _told()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def check() -> None:
    """Raise KeyboardInterrupt if `pending`.

    Called between any two evaluations of a likelihood, so that no loop over them keeps a user waiting.
    """
    if pending():
        raise KeyboardInterrupt


def interrupt_main() -> None:
    """Do to the main thread what Ctrl-C does, for reasons of this process's own: nobody waits for it to end."""
    _own.append(signal.SIGINT)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def is_own() -> bool:
    """Whether a signal that has come is one of `interrupt_main`; asked once for each."""
    if not _own:
        return False
    _own.pop()
    return True


def forget_all() -> None:
    """Nothing is known of any signal, as when a process begins."""
    noticed.clear()
    asked.clear()
    _own.clear()
