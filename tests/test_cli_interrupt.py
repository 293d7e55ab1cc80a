"""Ctrl-C and SIGTERM: real signals to real processes, answered within two seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gammasky.engine.infer.optimise import laplace
from gammasky.engine.interrupt import Interrupts, check

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
AT_MOST = 4.0  # s: two, and two more for a machine that has other things to do

BUSY = """
import hashlib
from gammasky.commands.watch import answered
from gammasky.engine.interrupt import Interrupts
with answered(), Interrupts():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)  # one call of a library, a minute or more
"""

SAVING = """
import time
from gammasky.commands.watch import answered
from gammasky.engine.interrupt import Interrupts, check
try:
    with answered(), Interrupts():
        try:
            print("ready", flush=True)
            while True:
                check()
                time.sleep(0.01)
        finally:
            time.sleep(2.5)  # a checkpoint that goes to a slow disk
            print("saved", flush=True)
except KeyboardInterrupt:
    raise SystemExit(3)
"""


LEAVING = """
import threading, time
from gammasky.commands.watch import leave
from gammasky.engine.interrupt import IN_ADVANCE
print("said", end="")
threading.Thread(target=time.sleep, args=({seconds},), name={name}).start()
leave(130)
"""


def interrupted(line: list[str], number: int, after: str) -> tuple[int, str, float]:
    """Start a process, send it a signal when it has said `after`; what it printed, and how long it took to end."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert any(text.startswith(after) for text in process.stdout)
    began = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out, time.monotonic() - began


@SIGNALS
def test_a_call_that_notices_nothing_is_ended(number: int) -> None:
    code, out, seconds = interrupted([sys.executable, "-P", "-c", BUSY], number, "ready")
    assert (code, out) == (130, "gammasky: error: interrupted\n")
    assert seconds < AT_MOST


@SIGNALS
def test_who_has_noticed_may_take_his_time(number: int) -> None:
    code, out, seconds = interrupted([sys.executable, "-P", "-c", SAVING], number, "ready")
    assert (code, out) == (3, "saved\n")
    assert seconds > 2.5


@pytest.mark.parametrize(
    ("number", "stage"),
    [(signal.SIGINT, "gammasky: finding the best point"), (signal.SIGTERM, "gammasky: compiling")],
)
@pytest.mark.slow
def test_a_fit_answers_in_every_stage(number: int, stage: str, tmp_path: Path) -> None:
    words = ["--data", "demo", "--method", "svi", "--no-emulator", "--steps", "300"]
    line = ["fit", "calibration", *words, "--out", str(tmp_path / "out")]
    code, out, seconds = interrupted([sys.executable, "-P", "-m", "gammasky", *line], number, stage)
    assert code == 130
    assert out.endswith("gammasky: error: interrupted\n")
    assert seconds < AT_MOST
    assert not (tmp_path / "out" / "posterior.nc").exists()


def test_a_climb_ends_before_the_next_evaluation() -> None:
    calls = [0]

    def value_and_gradient(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls[0] += 1
        if calls[0] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return -(points**4).sum(axis=1), -4 * points**3

    with pytest.raises(KeyboardInterrupt), Interrupts():
        laplace(SimpleNamespace(n_latent=2, value_and_gradient=value_and_gradient), seed=0)  # type: ignore[arg-type]
    assert calls[0] == 3


def test_a_signal_after_the_last_look_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    check()  # nothing is left of it


def test_another_error_comes_first() -> None:
    def fails() -> None:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fails()


@pytest.mark.parametrize(("name", "seconds", "waits"), [("IN_ADVANCE + '_0'", 60.0, False), ("'another'", 1.0, True)])
def test_a_process_does_not_wait_for_what_is_compiled_in_advance(name: str, seconds: float, waits: bool) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-c", LEAVING.format(name=name, seconds=seconds)],
        stdout=subprocess.PIPE, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "said")
    assert (time.monotonic() - began >= seconds) == waits
