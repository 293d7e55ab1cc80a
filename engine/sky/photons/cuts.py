"""Cuts on photons, as a recipe names them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from gammasky.engine.errors import unknown_name
from gammasky.engine.sky.schema import Schema

#: Bits of EVENT_CLASS in Pass 8. Source: the mission's data preparation pages (Cicerone, "LAT data products").
EVENT_CLASSES = {
    "TRANSIENT020E": 1 << 3, "TRANSIENT020": 1 << 4, "TRANSIENT010E": 1 << 5, "TRANSIENT010": 1 << 6, "SOURCE": 1 << 7,
    "CLEAN": 1 << 8, "ULTRACLEAN": 1 << 9, "ULTRACLEANVETO": 1 << 10, "SOURCEVETO": 1 << 11, "TRANSIENT015S": 1 << 16,
}  # fmt: skip
#: Bits of EVENT_TYPE in Pass 8, by name: where the pair was made, quartiles of direction and of energy.
EVENT_TYPES = {
    name: 1 << bit
    for bit, name in enumerate(
        ("FRONT", "BACK", "PSF0", "PSF1", "PSF2", "PSF3", "EDISP0", "EDISP1", "EDISP2", "EDISP3")
    )
}


def _in_files(names: dict[str, int]) -> WithJsonSchema:
    """What a file may hold in place of a bit mask: a name or several."""
    name = {"type": "string", "enum": list(names)}
    return WithJsonSchema({"anyOf": [{"type": "integer"}, name, {"type": "array", "items": name}]})


class PhotonCuts(Schema):
    """Cuts on photons, all of which one must pass; None: no cut.

    Args:
        event_class: name of the event class, such as "SOURCE", or its bit mask: an event must have one of the bits.
        event_type: a name such as "PSF3", several names, or a bit mask.
        zenith_max_deg [deg]: the largest zenith angle, included.
        time_min_s, time_max_s [s]: mission time, included.
    """

    event_class: Annotated[int | None, _in_files(EVENT_CLASSES)] = None
    event_type: Annotated[int | None, _in_files(EVENT_TYPES)] = None
    zenith_max_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    time_min_s: float | None = None
    time_max_s: float | None = None

    @field_validator("event_class", mode="before")
    @classmethod
    def _class_mask(cls, value: Any) -> Any:
        return _mask(value, "event class", EVENT_CLASSES)

    @field_validator("event_type", mode="before")
    @classmethod
    def _type_mask(cls, value: Any) -> Any:
        return _mask(value, "event type", EVENT_TYPES)

    @model_validator(mode="after")
    def _times_in_order(self) -> PhotonCuts:
        if self.time_min_s is not None and self.time_max_s is not None and self.time_min_s >= self.time_max_s:
            raise ValueError(f"time_min_s must be below time_max_s, got {self.time_min_s:g} and {self.time_max_s:g}")
        return self


def _mask(value: Any, kind: str, known: dict[str, int]) -> Any:
    """A bit mask from a name, several names or a number."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        if isinstance(value, int) and not 0 < value < 1 << 32:
            raise ValueError(f"expected a bit mask above 0, of 32 bits, or a name such as {next(iter(known))}")
        return value
    mask = 0
    for name in names:
        if name not in known:
            raise ValueError(str(unknown_name(kind, str(name), known)))
        mask |= known[name]
    return mask


def type_names(mask: int) -> list[str]:
    """Names of the event types in a mask."""
    return [name for name, bit in EVENT_TYPES.items() if mask & bit]
