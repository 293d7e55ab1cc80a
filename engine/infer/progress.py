"""Live progress of a fit on stderr: units of work done, what the numbers say, rate, time left."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType

from gammasky.engine.terminal import in_notebook, overwrite

_LINE_SECONDS = 10.0  # between lines where stderr is no terminal


class Progress:
    """A progress bar on a terminal, one line that changes in a notebook, a line every ten seconds elsewhere,
    nothing when `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._first: tuple[int, int, float] | None = None  # units done, units in all and the time when they began
        self._printed = time.monotonic()
        self._shown = False  # a line of a notebook

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
        self._task = self._bar.add_task("fit", total=None, text="")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._shown:
            overwrite("gammasky: done" if _kind is None else "gammasky: stopped", last=True)

    def note(self, text: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, text=text)
        self._print(text, always=True)

    def update(self, done: int, total: int, text: str) -> None:
        """Show how many units of work are done, and what the numbers say; another total begins another count."""
        now = time.monotonic()
        if self._first is None or self._first[1] != total:
            self._first = (done, total, now)
            self._bar.update(self._task, completed=done, total=total, text=text)
            self._print(f"step {done}/{total}", always=True)
            return
        rate = (done - self._first[0]) / max(now - self._first[2], 1e-9)
        left = (total - done) / rate if rate > 0 else math.nan
        text = f"{text}, {rate:.3g} steps/s, {_clock(left)} left" if text else f"{_clock(left)} left"
        self._bar.update(self._task, completed=done, total=total, text=text)
        self._print(f"step {done}/{total}: {text}", always=False)

    def _print(self, text: str, *, always: bool) -> None:
        if self._live or self._quiet:
            return
        if in_notebook():
            self._shown = True
            overwrite(f"gammasky: {text}")
            return
        if always or time.monotonic() - self._printed > _LINE_SECONDS:
            print(f"gammasky: {text}", file=sys.stderr, flush=True)
            self._printed = time.monotonic()


def _clock(seconds: float) -> str:
    """Seconds written as minutes and seconds."""
    if not math.isfinite(seconds):
        return "--:--"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
