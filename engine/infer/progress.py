"""Live progress of a fit on stderr: step, ELBO, rate, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

_WINDOW = 100  # steps over which the ELBO is averaged
_LINE_SECONDS = 10.0  # between lines where stderr is no terminal


class Progress:
    """A progress bar on a terminal, a line every ten seconds elsewhere, nothing when `quiet`."""

    def __init__(self, steps: int, quiet: bool) -> None:
        self._steps, self._quiet = steps, quiet
        self._began: float | None = None
        self._first = 0
        self._printed = time.monotonic()

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True, quiet=self._quiet)
        self._live = console.is_terminal and not self._quiet
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = Bar(*columns, console=console, disable=not self._live)
        self._bar.start()
        self._task = self._bar.add_task("fit", total=self._steps, text="")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, text=text)
        self._print(text, always=True)

    def update(self, elbo: NDArray[np.float64]) -> None:
        """Show the state after the steps whose ELBO is given (all so far)."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._first = now, elbo.size
            self._bar.update(self._task, completed=elbo.size, text="")
            self._print(f"step {elbo.size}/{self._steps}", always=True)
            return
        rate = (elbo.size - self._first) / max(now - self._began, 1e-9)
        left = (self._steps - elbo.size) / rate if rate > 0 else float("nan")
        mean = elbo[-_WINDOW:].mean()
        text = f"ELBO {mean:.2f}, {rate:.0f} steps/s, {_clock(left)} left"
        self._bar.update(self._task, completed=elbo.size, text=text)
        self._print(f"step {elbo.size}/{self._steps}: {text}", always=False)

    def _print(self, text: str, *, always: bool) -> None:
        if self._live or self._quiet:
            return
        if always or time.monotonic() - self._printed > _LINE_SECONDS:
            print(f"gammasky: {text}", file=sys.stderr, flush=True)
            self._printed = time.monotonic()


def _clock(seconds: float) -> str:
    """Minutes and seconds."""
    if not np.isfinite(seconds):
        return "--:--"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
