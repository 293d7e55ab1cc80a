"""What the time of a fit is spent on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def timed(seconds: dict[str, float], kind: str, work: Iterable[T]) -> Iterator[T]:
    """The same work; the time that it takes is added to `seconds[kind]`."""
    began = time.perf_counter()
    for piece in work:
        seconds[kind] += time.perf_counter() - began
        yield piece
        began = time.perf_counter()
    seconds[kind] += time.perf_counter() - began
