"""Tables in the terminal, or in the file or pipe that takes its place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # columns that the widest table needs


def wide_console() -> Console:
    """Where to print: as wide as the terminal is or, in a file or a pipe, as a table needs."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def in_notebook() -> bool:
    """Whether this is a Jupyter notebook, whose stderr is no terminal but can overwrite a line."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def overwrite(text: str, *, last: bool = False) -> None:
    """Put `text` in the place of the line on stderr; `last`: the next one goes below."""
    print(f"\r{text:<{WIDTH}}"[: WIDTH + 1], end="\n" if last else "", file=sys.stderr, flush=True)
