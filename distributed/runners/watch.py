"""Workers that have gone silent: frozen while their node lives, so that nothing else notices.

From the moment it is given a member, before it loads what to do with it, a worker touches that member's progress file
every few seconds, from a thread of its own: compiled code runs beside it. A file that stays as it is for PATIENCE looks
is that of a worker which does not answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PULSE_SECONDS = 10.0  # between two signs of life
LOOK_SECONDS = 1.0  # at least, between two looks: a driver that was stopped itself has then looked only once
PATIENCE = 300  # looks without a new sign of life


@contextmanager
def pulse(file: Path) -> Iterator[None]:
    """Touch a file, which others may write or remove, every PULSE_SECONDS."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(PULSE_SECONDS):
            with suppress(OSError):  # storage that is away for a moment costs one beat
                os.utime(file)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


class Watch:
    """Looks at the progress files of members at work, in the folder `live`."""

    def __init__(self, live: Path) -> None:
        self._live = live
        self._seen: dict[str, tuple[int, int]] = {}  # the last sign of life, and the looks since then
        self._looked = -float("inf")

    def silent(self, keys: Iterable[str]) -> list[str]:
        """Those of the members whose workers do not answer."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return []
        self._looked, before = now, self._seen
        self._seen = {}
        for key in keys:
            with suppress(FileNotFoundError):  # one that waits for a worker, or has ended
                sign = (self._live / f"{key}.json").stat().st_mtime_ns
                last, looks = before.get(key, (0, 0))
                self._seen[key] = (sign, looks + 1 if sign == last else 0)
        return [key for key, (_, looks) in self._seen.items() if looks > PATIENCE]
