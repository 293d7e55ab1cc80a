"""Ctrl-C and SIGTERM are answered within two seconds, whatever is going on."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NoReturn

import click

from gammasky.engine.errors import GammaskyError
from gammasky.engine.interrupt import IN_ADVANCE, asked, forget_all, is_own, noticed

INTERRUPTED = 130  # exit code
PATIENCE = 1.0  # seconds that a computation has to notice a signal
_TELLING = (GammaskyError, OSError, click.ClickException, click.Abort, click.exceptions.Exit)
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


@contextmanager
def answered() -> Iterator[None]:
    """End the process if the body does not notice a signal in time; where it does, SIGTERM is what Ctrl-C is.

    Python acts on a signal only between two of its own instructions, which a compiler of XLA or Numba, or a long call
    of a library, does not reach for a minute. But the signal's number is written to a socket at once, and a thread that
    waits there ends the process, unless the body has noticed: then it may take its time, to write a checkpoint say. A
    process that is ended so leaves whole files and its latest checkpoint, as every file is written aside and renamed.

    That a handler has raised KeyboardInterrupt does not count: within a hook of garbage collection it reaches nobody.
    Who catches it, and then needs time, says so by `noticed`. The signals of `interrupt_main` are nobody's wish to end.

    Raises:
        KeyboardInterrupt: also in place of another error after a signal: what it becomes within a callback of XLA, or
            an import. Errors that tell a user what to do stay what they are.
    """
    try:
        with _watched() if threading.current_thread() is threading.main_thread() else nullcontext():
            yield
    except _TELLING:
        raise
    except Exception as error:
        if asked.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        asked.clear()


@contextmanager
def _watched() -> Iterator[None]:
    forget_all()
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # as Python requires of a socket that it writes signals to
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader,), daemon=True)
    watch.start()
    ends_at_once = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # and leaves what is half done
    if ends_at_once:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        noticed.set()  # an exception is on its way, or all is done
        if ends_at_once:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        writer.close()  # the thread reads the end of the stream
        watch.join()
        reader.close()


def leave(code: int) -> NoReturn:
    """End the process with an exit code; at once after an interrupt, or where programs are compiled for a fit that has
    ended.

    Python would wait for them, and XLA would crash if the process ended under it by and by. To take JAX down takes a
    second and more.
    """
    if code == INTERRUPTED or any(thread.name.startswith(IN_ADVANCE) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _watch(reader: socket.socket) -> None:
    while number := reader.recv(1):
        if number[0] not in (signal.SIGINT, signal.SIGTERM) or is_own():
            continue
        asked.set()
        if not noticed.wait(PATIENCE):
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
            os.write(2, cursor + b"gammasky: error: interrupted\n")
            os._exit(INTERRUPTED)
