"""What a file of the mission says of the cuts that it was made with: the DSS keywords of its header.

A photon list and an exposure belong together only if both were made with the same event class and types, the same limit
of the zenith angle, and the same times. Source: the mission's description of its data files, "DSS keywords" (the
extensions of FT1 files; https://fermi.gsfc.nasa.gov/ssc/data/analysis/documentation/Cicerone/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gammasky.engine.errors import InputError

BIT_MASK = re.compile(r"BIT_MASK\(\s*(EVENT_CLASS|EVENT_TYPE)\s*,\s*(\d+)\s*(?:,\s*(\w+)\s*)?\)")
CIRCLE = re.compile(r"CIRCLE\(\s*([^,()]+),([^,()]+),([^,()]+)\)", re.IGNORECASE)
DIVISIONS = (0b11, 0b111100, 0b1111000000)  # masks of event types: each event has one type of each division
TO_MEV = {"MEV": 1.0, "GEV": 1e3, "KEV": 1e-3, "EV": 1e-6, "TEV": 1e6}


@dataclass(frozen=True)
class Selection:
    """Cuts that are in force; None: none is known.

    Args:
        event_class, event_type: masks, any bit of which an event must have.
        version: of the event reconstruction, such as "P8R3".
        zenith_max_deg [deg]: the largest zenith angle.
        energy_mev (low, high) [MeV]: energies.
        circles ((ra, dec, radius), ...) [deg]: discs, all of which hold the photons.
        responses: name of the instrument response, such as "P8R3_SOURCE_V3".
    """

    event_class: int | None = None
    event_type: int | None = None
    version: str | None = None
    zenith_max_deg: float | None = None
    energy_mev: tuple[float, float] | None = None
    circles: tuple[tuple[float, float, float], ...] = ()
    responses: str | None = None

    @classmethod
    def in_headers(cls, headers: Iterable[Mapping[str, Any]], label: str) -> Selection:
        """What the headers of a file say together; keywords that two of them repeat count once.

        Raises:
            InputError: a keyword that cannot be read, or two that contradict each other.
        """
        found = cls()
        for header in headers:
            number = 1
            while f"DSTYP{number}" in header:
                kind, value = str(header[f"DSTYP{number}"]).strip(), str(header.get(f"DSVAL{number}", "")).strip()
                unit = str(header.get(f"DSUNI{number}", "")).strip()
                found = found._with(kind, value, unit, f"{label}: DSVAL{number} = '{value}' of '{kind}'")
                number += 1
        return found

    def _with(self, kind: str, value: str, unit: str, place: str) -> Selection:
        """This selection and one more keyword."""
        if match := BIT_MASK.fullmatch(kind):
            name, mask, version = match[1].lower(), int(match[2]), match[3]
            before = getattr(self, name)
            if before is not None and before != mask:
                raise InputError(f"{place}: {name} {mask} contradicts {before}, which another keyword says")
            changed: dict[str, Any] = {name: mask, "version": version or self.version}
            return replace(self, **changed)
        if kind == "IRF_VERSION":
            return replace(self, responses=value)
        if kind == "ZENITH_ANGLE":
            high = _range(value, place)[1]
            return replace(self, zenith_max_deg=min(high, high if self.zenith_max_deg is None else self.zenith_max_deg))
        if kind == "ENERGY":
            if unit and unit.upper() not in TO_MEV:
                raise InputError(f"{place}: '{unit}' is no unit of energy; expected MeV")
            low, high = (number * TO_MEV[unit.upper() or "MEV"] for number in _range(value, place))
            known = self.energy_mev or (low, high)
            return replace(self, energy_mev=(max(low, known[0]), min(high, known[1])))
        if kind.replace(" ", "").upper() == "POS(RA,DEC)":
            return self._with_circle(value, place)
        return self  # TIME, whose table is the extension GTI, and what is no cut of photons

    def _with_circle(self, value: str, place: str) -> Selection:
        match = CIRCLE.fullmatch(value)
        if match is None:
            raise InputError(f"{place}: expected CIRCLE(ra,dec,radius)")
        try:
            ra, dec, radius = (float(number) for number in match.groups())
        except ValueError:
            raise InputError(f"{place}: expected CIRCLE(ra,dec,radius) in degrees") from None
        known = (
            self.circles if radius >= 180 or (ra, dec, radius) in self.circles else (*self.circles, (ra, dec, radius))
        )
        return replace(self, circles=known)

    def narrowed(
        self, event_class: int | None, event_type: int | None, zenith_max_deg: float | None, label: str
    ) -> Selection:
        """This selection after more cuts.

        Raises:
            InputError: event types that no event, or no mask, has together with those of before.
        """
        limits = [limit for limit in (self.zenith_max_deg, zenith_max_deg) if limit is not None]
        return replace(
            self,
            event_class=self.event_class if event_class is None else event_class,
            event_type=_both_types(self.event_type, event_type, label),
            zenith_max_deg=min(limits) if limits else None,
        )


def _all_events(mask: int) -> bool:
    """Whether a mask of types holds a whole division of all events."""
    return any(mask & division == division for division in DIVISIONS)


def _both_types(before: int | None, wanted: int | None, label: str) -> int | None:
    """The mask of events that have a type of `before` and one that is `wanted`."""
    if wanted is None or before is None or _all_events(before):
        return before if wanted is None else wanted
    if _all_events(wanted):
        return before
    if not any((before | wanted) & ~division == 0 for division in DIVISIONS) or not before & wanted:
        raise InputError(
            f"{label}: event types {wanted} were asked for, but its events have the types {before}; use some of these"
        )
    return before & wanted


def check_same_cuts(photons: Selection, exposure: Selection, of_photons: str, of_exposure: str) -> None:
    """Refuse photons and an exposure that were not cut alike, as far as both say how.

    Raises:
        InputError: names the cut and both values.
    """
    names = {
        "event_class": "event class",
        "event_type": "event types",
        "version": "event reconstruction",
        "zenith_max_deg": "largest zenith angle [deg]",
    }
    for name, words in names.items():
        ours, theirs = getattr(photons, name), getattr(exposure, name)
        if name == "event_type" and ours and theirs and _all_events(ours) and _all_events(theirs):
            continue
        if ours is not None and theirs is not None and ours != theirs:
            raise InputError(
                f"{of_photons}: {words} {_told(ours)}, but the exposure {of_exposure} was made with {_told(theirs)}; "
                "cut both alike"
            )
    if photons.version and exposure.responses and not exposure.responses.startswith(photons.version):
        raise InputError(
            f"{of_photons}: event reconstruction {photons.version}, but the exposure {of_exposure} was made with "
            f"the response {exposure.responses}; use one of the same reconstruction"
        )


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(value: str, place: str) -> tuple[float, float]:
    """The limits of `low:high`."""
    try:
        low, high = (float(part) for part in value.split(":"))
    except ValueError:
        raise InputError(f"{place}: expected two numbers, low:high") from None
    return low, high
