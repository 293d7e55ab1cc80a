"""Seats that have gone silent, and members that do not come on: nothing else notices either.

A seat gives a sign of life every few seconds, from a thread of its own: compiled code runs beside it. One that gives
none for PATIENCE looks is frozen, or cut off. The likelier hang looks alive: its thread goes on while the fit stands
still. So a member that has reported progress before, and then none for STANDSTILL looks, is given up, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from gammasky.distributed.runners.hub import Sign

LOOK_SECONDS = 1.0  # at least, between two looks: a driver that was stopped itself has then looked only once
PATIENCE = 300  # looks without a new sign of life
STANDSTILL = 3600  # looks without progress
SILENT = ""  # what is wrong with a seat as a whole; else it is the key of a member


class Watch:
    """Looks at the signs of seats."""

    def __init__(self) -> None:
        #: the last sign, looks since it, and since progress of each member
        self._seen: dict[str, tuple[Sign | None, int, dict[str, int]]] = {}
        self._looked = -float("inf")

    def due(self) -> bool:
        """Whether it is time for another look."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def look(self, signs: Mapping[str, Sign | None]) -> dict[str, str]:
        """Which seats are in trouble: SILENT, or the key of a member that stands still there.

        Args:
            signs: the last of every seat that has a process; None: it has not given any.
        """
        self._looked, before = time.monotonic(), self._seen
        self._seen, wrong = {}, {}
        for seat, sign in signs.items():
            last, quiet, still = before.get(seat, (None, 0, {}))
            quiet = 0 if sign is None or last is None or sign[0] != last[0] else quiet + 1
            still = {} if sign is None else {key: _looks_since(key, sign, last, still) for key in sign[1]}
            self._seen[seat] = (sign, quiet, still)
            hangs = [key for key, looks in still.items() if sign and sign[1][key][0] >= 2 and looks > STANDSTILL]
            if quiet > PATIENCE:
                wrong[seat] = SILENT
            elif hangs:
                wrong[seat] = hangs[0]
        return wrong


def _looks_since(key: str, sign: Sign, last: Sign | None, before: Mapping[str, int]) -> int:
    """Looks without progress of a member."""
    same = last is not None and key in last[1] and last[1][key][0] == sign[1][key][0]
    return before.get(key, 0) + 1 if same else 0
