"""Ctrl-C while compiled code runs: remember it, and act on it where nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Context in which SIGINT and SIGTERM only set a flag; a second one acts at once.

    Raised in the middle of a kernel callback, KeyboardInterrupt would come out of XLA as another error.
    """

    def __init__(self) -> None:
        self.pending = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True

    def raise_if_pending(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.pending:
            raise KeyboardInterrupt
