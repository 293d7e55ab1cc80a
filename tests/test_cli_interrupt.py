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

from gammasky.commands.watch import answered
from gammasky.engine.errors import InputError
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

SWALLOWED = """
import time
from gammasky.commands.watch import answered
class Hook:
    def __del__(self):  # what is raised here reaches nobody, as in a hook of garbage collection
        print("ready", flush=True)
        time.sleep(30)
with answered():
    Hook()
    time.sleep(60)
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


CLEANING = """
import time
from gammasky.commands.watch import answered
from gammasky.engine.interrupt import noticed
try:
    with answered():
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            noticed.set()
            time.sleep(2.5)  # as long as it takes to end Ray
            print("saved", flush=True)
            raise
except KeyboardInterrupt:
    raise SystemExit(3)
"""

# the command line, with a compiler that takes a minute for what it is asked where {held} holds
COMPILING = """
import hashlib, threading
from jax._src import compiler
from gammasky.cli import command
from gammasky.distributed.runners.inline import _AtOnce
from gammasky.engine import interrupt
compile_one = compiler.backend_compile_and_load
def held(*arguments):
    if {held}:
        print("compiling", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)
    return compile_one(*arguments)
compiler.backend_compile_and_load = held
command()
"""
IN_A_MEMBER = "any(isinstance(one, _AtOnce) for one in interrupt._active)"
IN_ADVANCE = "threading.current_thread().name.startswith(interrupt.IN_ADVANCE)"
FIT = ["fit", "model.toml", "--data", "sky", "--out", "out"]
COMMANDS = {
    "fit": (FIT, IN_ADVANCE),
    "loglike": (["loglike", "model.toml", "--data", "sky", "--params", "point.json", "--grad"], "True"),
    "calibrate": (["calibrate", "model.toml", "--data", "sky", "--skies", "2", "--executor", "inline", "--out", "out"],
                  IN_A_MEMBER),
}  # fmt: skip

# the command line, which tells what the emulator does; of what it takes in a fit, one phase is made longer
EMULATOR = """
from gammasky.cli import command
from gammasky.engine.infer.emulator import emulation
run = emulation.Emulation.run_phase
def told(self):
    for text in run(self):
        print(text, flush=True)
        yield text
emulation.Emulation.run_phase = told
emulation.FIRST_STEPS = emulation.ROUND_STEPS = emulation.LAST_STEPS = 200
emulation.ENOUGH, emulation.MOST_TESTS = 0.0, 1
{longer}
command()
"""


LEAVING = """
import threading, time
from gammasky.commands.watch import leave
from gammasky.engine.interrupt import IN_ADVANCE
print("said", end="")
threading.Thread(target=time.sleep, args=({seconds},), name={name}).start()
leave({code})
"""


def interrupted(line: list[str], number: int, after: str) -> tuple[int, str, float]:
    """Start a process, send it a signal when it has said `after`; what it printed, and how long it took to end."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = ""
        for text in process.stdout:
            said += text
            if text.startswith(after):
                break
        else:
            pytest.fail(f"ended before it said '{after}': {said}")
        began = time.monotonic()
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        return process.returncode, out, time.monotonic() - began
    finally:
        process.kill()  # one that has not heard
        process.wait()


@SIGNALS
@pytest.mark.parametrize("script", [BUSY, SWALLOWED])
def test_a_call_that_notices_nothing_is_ended(number: int, script: str) -> None:
    code, out, seconds = interrupted([sys.executable, "-P", "-c", script], number, "ready")
    assert code == 130
    assert out.endswith("gammasky: error: interrupted\n")
    assert seconds < AT_MOST


@SIGNALS
@pytest.mark.parametrize("script", [SAVING, CLEANING])
def test_who_has_noticed_may_take_his_time(number: int, script: str) -> None:
    code, out, seconds = interrupted([sys.executable, "-P", "-c", script], number, "ready")
    assert (code, out) == (3, "saved\n")
    assert seconds > 2.5


def test_what_an_interrupt_has_become_is_an_interrupt() -> None:
    """Within a callback of XLA it comes out as an error of XLA's; what a user can act on stays what it is."""

    def turned_into(other: Exception) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise other from None

    with pytest.raises(KeyboardInterrupt), answered():
        turned_into(RuntimeError("of XLA"))
    with pytest.raises(InputError, match="mine"), answered():
        turned_into(InputError("mine"))
    with pytest.raises(RuntimeError, match="a bug"), answered():
        raise RuntimeError("a bug")


def test_a_context_within_another_knows_of_its_signal() -> None:
    """One that came before the inner one began, which else would wait for its end."""
    found: list[bool] = []

    def begin_late() -> None:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            with Interrupts() as inner:
                found.append(inner.pending)

    with pytest.raises(KeyboardInterrupt):
        begin_late()
    assert found == [True]


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


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_answers_while_it_compiles(command: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "4")  # enough to compile in advance
    words, held = COMMANDS[command]
    script = COMPILING.format(held=held)
    code, out, seconds = interrupted([sys.executable, "-P", "-c", script, *words], signal.SIGINT, "compiling")
    assert code == 130
    assert out.endswith("gammasky: error: interrupted\n")
    assert "Traceback" not in out
    assert seconds < AT_MOST
    assert not list(tiny.glob("out/**/*.n[cp]*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "longer"),
    [("learning", "emulation.FIRST_STEPS = 100_000"), ("exact chains", "emulation.ITERATIONS = 10_000")],
)
def test_the_emulator_answers_and_keeps_its_checkpoint(phase: str, longer: str, tiny: Path) -> None:
    script = EMULATOR.format(longer=longer)
    code, out, seconds = interrupted([sys.executable, "-P", "-c", script, *FIT], signal.SIGINT, phase)
    assert code == 130
    assert out.endswith("gammasky: error: interrupted\n")
    assert seconds < AT_MOST
    assert (tiny / "out" / "checkpoint.npz").is_file()


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


@pytest.mark.parametrize(
    ("name", "code", "seconds", "waits"),
    [("IN_ADVANCE + '_0'", 0, 60.0, False), ("'another'", 130, 60.0, False), ("'another'", 0, 1.0, True)],
)
def test_a_process_waits_neither_for_what_is_compiled_in_advance_nor_after_an_interrupt(
    name: str, code: int, seconds: float, waits: bool
) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-c", LEAVING.format(name=name, code=code, seconds=seconds)],
        stdout=subprocess.PIPE, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "said")
    assert (time.monotonic() - began >= seconds) == waits
