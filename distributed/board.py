"""A campaign while it runs: a live table in a terminal, a line in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gammasky.distributed.status import NUMBERS, Status
from gammasky.engine.terminal import in_notebook, overwrite

if TYPE_CHECKING:
    from rich.console import Group

LINE_SECONDS = 5.0  # between two lines
SHOWN = 20  # members at work in the table


class Board:
    """Shows a campaign on stderr while it runs; nothing if `quiet`."""

    def __init__(self, title: str, quiet: bool) -> None:
        self._title, self._quiet = title, quiet
        self._live: Any = None
        self._ended, self._last = -1, -float("inf")

    def __enter__(self) -> Board:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, status: Status, *, last: bool = False) -> None:
        """Show how far the campaign is; `last`: for the last time."""
        if self._quiet:
            return
        if last:
            self._stop()
        if self._live is not None:
            self._live.update(render(status, self._title), refresh=True)
            return
        if in_notebook():
            overwrite(f"gammasky: {self._title}: {summary(status)}", last=last)
            return
        ended, now = status.done + status.failed, time.monotonic()
        if last or (ended != self._ended and now - self._last > LINE_SECONDS):
            self._ended, self._last = ended, now
            print(f"gammasky: {self._title}: {summary(status)}", file=sys.stderr)


def summary(status: Status) -> str:
    """A campaign in one line."""
    parts = [f"{status.done} of {status.total} done"]
    parts += [f"{status.failed} failed"] * (status.failed > 0)
    parts += [f"{len(status.running)} running, {status.waiting} waiting"] * bool(status.driver)
    if status.seconds_left is not None and status.done + status.failed < status.total:
        parts.append(f"about {duration(status.seconds_left)} left")
    return ", ".join(parts)


def render(status: Status, title: str) -> Group:
    """A campaign as a table of the members at work and those that ended last, below its summary."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("member", "state", "progress", "time", *(heading for heading, _ in NUMBERS.values())):
        table.add_column(name, justify="left" if name in ("member", "state") else "right", no_wrap=True)
    for member in status.running[:SHOWN]:
        again = f" (attempt {member.attempt})" if member.attempt > 1 else ""
        table.add_row(
            Text(member.name), f"running{again}", f"{member.fraction:.0%}", duration(member.seconds),
            *_numbers(member.values),
        )  # fmt: skip
    if len(status.running) > SHOWN:
        table.add_row(f"and {len(status.running) - SHOWN} more", "running", "", "", *_numbers({}))
    for ended in status.recent:
        style = "red" if ended.state == "failed" else "dim"
        name = f"{ended.name}: {ended.error}" if ended.error else ended.name
        table.add_row(Text(name), ended.state, "", duration(ended.seconds), *_numbers(ended.values), style=style)
    head = Text(f"{title}: {summary(status)}", style="bold")
    return Group(head, table) if table.row_count else Group(head)


def _numbers(values: dict[str, float]) -> list[str]:
    return [f"{values[name]:.{decimals}f}" if name in values else "" for name, (_, decimals) in NUMBERS.items()]


def duration(seconds: float) -> str:
    """A time for people: 8 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
