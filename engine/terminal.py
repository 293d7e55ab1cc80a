"""Tables in the terminal, or in the file or pipe that takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # columns that the widest table needs


def wide_console() -> Console:
    """Where to print: as wide as the terminal is or, in a file or a pipe, as a table needs."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)
