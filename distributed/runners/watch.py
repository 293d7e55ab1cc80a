"""Seats that have gone silent, and members that do not come on: nothing else notices either.

A seat gives a sign of life every few seconds, from a thread of its own: compiled code runs beside it. One that gives
none for PATIENCE looks is frozen, or cut off. The likelier hang looks alive: its thread goes on while the fit stands
still. So a member that has reported progress before, and then none for STANDSTILL looks, is given up, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from gammasky.distributed.runners.hub import Sign

LOOK_SECONDS = 1.0  # at least, between two looks: a driver that was stopped itself has then looked only once
PATIENCE = 300  # looks without a new sign of life
STANDSTILL = 3600  # looks without progress


class Watch:
    """Looks at the signs of seats."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Sign | None, int, int]] = {}  # the last sign; looks since it, and since progress
        self._looked = -float("inf")

    def due(self) -> bool:
        """Whether it is time for another look."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def look(self, signs: Mapping[str, Sign | None]) -> dict[str, Literal["silent", "standstill"]]:
        """What is wrong with which seats.

        Args:
            signs: the last of every seat that has a process; None: it has not given any.
        """
        self._looked, before = time.monotonic(), self._seen
        self._seen, wrong = {}, {}
        for seat, sign in signs.items():
            last, quiet, still = before.get(seat, (None, 0, 0))
            quiet = 0 if sign is None or last is None or sign[0] != last[0] else quiet + 1
            came_on = sign is None or last is None or sign[1:3] != last[1:3] or not sign[2]
            still = 0 if came_on else still + 1
            self._seen[seat] = (sign, quiet, still)
            if quiet > PATIENCE:
                wrong[seat] = "silent"
            elif sign is not None and sign[1] >= 2 and still > STANDSTILL:
                wrong[seat] = "standstill"
        return wrong  # type: ignore[return-value]
