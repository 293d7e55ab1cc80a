"""The inner loop of the cuts on photons."""

from __future__ import annotations

import numpy as np
from numba import njit

from gammasky.engine.kernels.policy import CACHE

#: What takes a photon from the list, in the order in which cuts are looked at; the number of a reason is its place.
REASONS = ("kept", "event class", "event type", "energy", "zenith angle", "time", "good time intervals")


@njit(nogil=True, cache=CACHE)
def sieve(
    energy: np.ndarray, zenith: np.ndarray, time: np.ndarray, event_class: np.ndarray, event_type: np.ndarray,
    masks: np.ndarray, limits: np.ndarray, start: np.ndarray, stop: np.ndarray, reason: np.ndarray, tally: np.ndarray,
) -> None:  # fmt: skip
    """Find the first cut that each photon fails.

    Args:
        energy (n,) [MeV], zenith (n,) [deg], time (n,) [s], event_class, event_type (n,): of each photon; where
            there is no cut an array of length 0 will do.
        masks (2,): of class and type; 0: no cut.
        limits (5,): lowest energy (included), highest (not), largest zenith angle (included), first and last time.
        start, stop (G,) [s]: good time intervals, rising; none: no cut.
        reason (n,): filled with the place in `REASONS`.
        tally (7,): incremented by the number of photons of each reason.
    """
    here = 0
    for i in range(len(reason)):
        why = 0
        if masks[0] and not event_class[i] & masks[0]:
            why = 1
        elif masks[1] and not event_type[i] & masks[1]:
            why = 2
        elif not (limits[0] <= energy[i] < limits[1]):
            why = 3
        elif len(zenith) and not zenith[i] <= limits[2]:
            why = 4
        elif len(time):
            moment = time[i]
            if not (limits[3] <= moment <= limits[4]):
                why = 5
            elif len(start):
                if not (start[here] <= moment <= stop[here]):  # photons mostly come in the order of time
                    here = max(np.searchsorted(start, moment, side="right") - 1, 0)
                if not (start[here] <= moment <= stop[here]):
                    why = 6
        reason[i] = why
        tally[why] += 1
