"""Where seats tell how far they are, and hear that they are to end: one small actor beside the driver.

Progress of hundreds of members goes through the cluster, not through files: the driver asks once a second, in one call.
Both ends know only plain values, so a node with another gammasky is heard, too.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

PULSE_SECONDS = 10.0  # between two signs of life
REPORT_SECONDS = 1.0  # between two of them where there is progress to tell
MOST_SEATS = 10_000

#: Of a seat: signs of life; of each member at work, by its key, the number of its reports and the last (fraction,
#: values); host, process.
Sign = tuple[int, dict[str, tuple[int, float, dict[str, float]]], str, int]


def start_hub(ray: Any) -> Any:
    """The actor, on the driver's own node: it is lost with the driver alone."""
    here = ray.get_runtime_context().get_node_id()
    beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": MOST_SEATS, "scheduling_strategy": beside}
    return ray.remote(_hub_class()).options(**options).remote()


def _hub_class() -> type:
    """The class of the actor; made here, it is sent to the node whole."""

    class Hub:
        def __init__(self) -> None:
            import asyncio

            self.signs: dict[str, Any] = {}
            self.ended = asyncio.Event()

        async def tell(self, seat: str, sign: Any) -> None:
            self.signs[seat] = sign

        async def forget(self, seat: str) -> None:
            self.signs.pop(seat, None)

        async def read(self) -> dict[str, Any]:
            return self.signs

        async def end(self) -> None:
            self.ended.set()

        async def wait(self) -> bool:
            await self.ended.wait()
            return True

    return Hub


class Line:
    """A seat's line to the hub: signs of life from a thread of its own, beside compiled code, and the word to end.

    Args:
        hub: the actor.
        seat: its name.
        end: called once, in that thread, when seats are to end.
    """

    def __init__(self, hub: Any, seat: str, end: Callable[[], None]) -> None:
        self._hub, self._seat, self._end = hub, seat, end
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, float, dict[str, float]]] = {}
        self._news = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def greet(self) -> None:
        """Give the first sign of life, and wait until it is heard."""
        import ray

        ray.get(self._hub.tell.remote(self._seat, self._sign(0)))

    def begin(self, key: str) -> None:
        """A member is at work from now on."""
        with self._lock:
            self._last[key] = (0, 0.0, {})
        self._news.set()

    def report(self, key: str, fraction: float, values: dict[str, float]) -> None:
        """Its progress."""
        with self._lock:
            self._last[key] = (self._last[key][0] + 1, fraction, values)
        self._news.set()

    def end(self, key: str) -> None:
        """It is at work no more."""
        with self._lock:
            del self._last[key]
        self._news.set()

    def _sign(self, beats: int) -> Sign:
        with self._lock:
            return beats, dict(self._last), socket.gethostname(), os.getpid()

    def _serve(self) -> None:
        import ray

        beats, told, word = 0, -float("inf"), self._hub.wait.remote()
        while True:
            try:
                if ray.wait([word], timeout=REPORT_SECONDS)[0]:
                    ray.get(word)
                    self._end()
                    return
            except ray.exceptions.RayError:  # it is being started again
                time.sleep(REPORT_SECONDS)
                word = self._hub.wait.remote()
            if self._news.is_set() or time.monotonic() - told >= PULSE_SECONDS:
                self._news.clear()
                beats, told = beats + 1, time.monotonic()
                self._hub.tell.remote(self._seat, self._sign(beats))
