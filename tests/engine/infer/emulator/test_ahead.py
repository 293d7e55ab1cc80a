"""Programs of an emulation that are compiled side by side before they are needed."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jax._src import compiler
from jax.stages import Lowered

from gammasky.engine.infer.emulator import ahead, emulation
from gammasky.engine.infer.emulator.ahead import compiled_ahead
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.emulator import EmulatorStage
from gammasky.engine.interrupt import IN_ADVANCE, Interrupts
from gammasky.engine.model import Density, SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.engine.infer.emulator import toys

#: What JAX compiles for single operations on arrays, which are no programs of ours.
SINGLE = {"jit_convert_element_type", "jit_add", "jit_true_divide", "jit_matmul", "jit_multiply", "jit__normal",
          "jit__threefry_fold_in", "jit__uniform", "jit_broadcast_in_dim", "jit_transpose"}  # fmt: skip


@pytest.fixture(autouse=True)
def _many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "thread_count", lambda: 6)
    for name, value in {"FIRST_STEPS": 200, "ROUND_STEPS": 100, "LAST_STEPS": 200, "FIRST": 256}.items():
        monkeypatch.setattr(emulation, name, value)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is compiled from here on."""
    names, compile_one = [], compiler.backend_compile_and_load

    def noted(backend: Any, module: Any, *rest: Any) -> Any:
        names.append(str(module.operation.attributes["sym_name"]).strip('"'))
        return compile_one(backend, module, *rest)

    monkeypatch.setattr(compiler, "backend_compile_and_load", noted)
    return names


def begun(model: Density, seed: int) -> EmulatorStage:
    stage = EmulatorStage(model, Settings(seed=seed), 100)
    stage.begin(lambda _: None)
    return stage


def ended(stage: EmulatorStage) -> np.ndarray:
    while not stage.done():
        stage.advance()
    return stage.finish().z


def test_nothing_is_left_to_compile_and_no_draw_changes(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = EmulatorStage(toys.prior(), Settings(seed=0), 100)
    notes: list[str] = []
    stage.begin(notes.append)
    assert notes == ["compiling", "finding the best point", "compiling"]
    first, known = set(compiled), set(stage.model.programs)
    assert {"jit__transitions", "jit_evaluate", "jit_log_density", "jit_one"} <= first
    compiled.clear()
    found = ended(stage)
    assert set(compiled) <= SINGLE
    assert set(stage.model.programs) == known
    monkeypatch.setattr(ahead, "thread_count", lambda: 3)  # too few
    alone = EmulatorStage(toys.prior(), Settings(seed=0), 100)
    alone.begin(lambda _: None)
    assert set(alone.model.programs) < known
    np.testing.assert_array_equal(ended(alone), found)


@pytest.mark.slow
def test_a_second_fit_of_the_same_structure_compiles_nothing(tiny_files: Path, compiled: list[str]) -> None:
    """Other counts, and another seed: so other numbers of design points, rounds, tests and draws that are resampled."""
    first = SkyModel(tiny_files / "model.toml", Dataset.open(tiny_files / "sky"))
    second = first.with_counts(np.random.default_rng(1).permutation(first.counts_term.counts))
    draws = ended(begun(first, 0))
    assert "jit_evaluate" in compiled
    known = set(first.programs)
    compiled.clear()
    assert (ended(begun(second, 1)) != draws).any()
    assert compiled == []
    assert set(first.programs) == known


def test_what_is_known_is_not_asked_for_again(compiled: list[str]) -> None:
    model = toys.prior()
    with compiled_ahead(model):
        pass
    compiled.clear()
    with compiled_ahead(model):
        pass
    assert not compiled


def test_fields_have_a_program_more(field_model: SkyModel) -> None:
    with ThreadPoolExecutor(1) as pool:
        stand_in, stand_ins = copy.copy(field_model), ahead.StandIns(field_model.programs, pool)
        stand_in.programs = stand_ins
        try:
            ahead.rehearse(stand_in)
        finally:
            pool.shutdown(cancel_futures=True)
    assert ("emulator", "weights of fields") in stand_ins.compiled
    assert ("emulator", "from latent") not in stand_ins.compiled


def test_an_interrupt_waits_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are under way end by themselves; the others do not begin."""
    go_on, compile_one, begun = threading.Event(), Lowered.compile, []

    def held(lowered: Lowered) -> Any:
        begun.append(lowered)
        if begun[0] is not lowered:  # the first one is that of the climbs, for which the body waits
            go_on.wait(60.0)
        return compile_one(lowered)

    monkeypatch.setattr(Lowered, "compile", held)
    with pytest.raises(KeyboardInterrupt), compiled_ahead(toys.prior()):
        raise KeyboardInterrupt
    left = [thread for thread in threading.enumerate() if thread.name.startswith(IN_ADVANCE)]
    assert left
    go_on.set()
    for thread in left:
        thread.join(60.0)
    assert not any(thread.is_alive() for thread in left)
    assert len(begun) <= 4  # the first, and what each of three threads had in hand


def test_a_signal_is_heard_while_the_first_program_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rehearse, rehearsed, go_on, first = ahead.rehearse, threading.Event(), threading.Event(), threading.Lock()

    def held(_lowered: Lowered) -> Any:
        rehearsed.wait(60.0)
        if first.acquire(blocking=False):  # a second signal would act at once
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)
        go_on.wait(20.0)

    def noted(model: Any) -> None:
        rehearse(model)
        rehearsed.set()

    monkeypatch.setattr(ahead, "rehearse", noted)
    monkeypatch.setattr(Lowered, "compile", held)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Interrupts(), compiled_ahead(toys.prior()):
        pass
    assert time.monotonic() - began < 15.0
    go_on.set()
