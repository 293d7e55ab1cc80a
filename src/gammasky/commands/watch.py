"""Ctrl-C and SIGTERM are answered within two seconds, whatever is going on."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from gammasky.engine.interrupt import IN_ADVANCE, noticed

PATIENCE = 1.0  # seconds that a computation has to notice a signal
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


@contextmanager
def answered() -> Iterator[None]:
    """End the process if the body does not notice a signal in time.

    Python acts on a signal only between two of its own instructions, which a compiler of XLA or Numba, or a long call
    of a library, does not reach for a minute. But the signal's number is written to a socket at once, and a thread that
    waits there ends the process, unless the body has noticed: then it may take its time, to write a checkpoint say. A
    process that is ended so leaves whole files and its latest checkpoint, as every file is written aside and renamed.
    """
    noticed.clear()
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # as Python requires of a socket that it writes signals to
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        noticed.set()  # an exception is on its way, or all is done
        signal.set_wakeup_fd(before)
        writer.close()  # the thread reads the end of the stream
        watch.join()
        reader.close()


def leave(code: int) -> NoReturn:
    """End the process with an exit code; at once where programs are compiled for a fit that has ended.

    Python would wait for them, and XLA would crash if the process ended under it by and by.
    """
    if any(thread.name.startswith(IN_ADVANCE) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _watch(reader: socket.socket) -> None:
    while number := reader.recv(1):
        if number[0] in (signal.SIGINT, signal.SIGTERM) and not noticed.wait(PATIENCE):
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
            os.write(2, cursor + b"gammasky: error: interrupted\n")
            os._exit(130)
