"""Excursions of chains on the copy: many moves in a row, of which each may take a second."""

from __future__ import annotations

import os
import signal
from typing import Any

import jax
import numpy as np
import pytest

from gammasky.engine.infer.emulator.sampling import CHAINS, Sampler
from gammasky.engine.interrupt import Interrupts


def test_an_interrupt_comes_between_two_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[float] = []

    def moved(_sampler: Sampler, _copy: Any, u: np.ndarray, *_: Any, heat: float, **_options: Any) -> Any:
        moves.append(heat)
        if len(moves) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return u, 0.1, 1.0

    monkeypatch.setattr(Sampler, "move", moved)
    monkeypatch.setattr(Sampler, "_copied", lambda _sampler, _copy, u: np.zeros(len(u)))
    sampler, copy = Sampler.__new__(Sampler), None
    with pytest.raises(KeyboardInterrupt), Interrupts():
        sampler.excursion(copy, np.zeros((CHAINS, 2)), jax.random.key(0), 0.1)  # type: ignore[arg-type]
    assert len(moves) == 2
