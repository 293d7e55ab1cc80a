"""What every method has in common: it goes on in pieces, can be saved between any two, and ends in a `Fit`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint
from gammasky.engine.infer.optimise import Laplace, laplace
from gammasky.engine.infer.result import Fit

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Note = Callable[[str], None]
N_STARTS = 8  # prior draws that the best point is looked for from
PIECE_SECONDS = 0.5  # of a piece of work: between looks at the clock, at interrupts and at the progress line
_LAPLACE = ("mode", "scale_tril", "log_density", "optima", "optima_z")


class Stage(ABC):
    """One method on one model.

    Attributes:
        name: of the method; its arrays in a checkpoint begin with it.
        n_draws: draws that it shall end in, where it can choose.
        seconds: spent so far, over all runs.
        start: best point and curvature, once `begin` has found it.
    """

    name: str

    def __init__(self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        self.model, self.settings, self.n_draws = model, settings, n_draws
        self.start = start
        self.seconds = 0.0

    @property
    def laplace(self) -> Laplace:
        """Best point and curvature, which `begin` has found."""
        assert self.start is not None
        return self.start

    def begin(self, note: Note) -> None:
        """Find the best point, unless it is known; called once, also after `restore`."""
        if self.start is None:
            note("finding the best point")
            with self.timed():
                self.start = laplace(self.model, self.settings.seed, N_STARTS)

    @abstractmethod
    def done(self) -> bool:
        """Whether nothing is left to do but to `finish`."""

    @abstractmethod
    def advance(self) -> None:
        """Do a piece of work of about PIECE_SECONDS."""

    @abstractmethod
    def progress(self) -> tuple[int, int, str]:
        """How many units of work are done and how many there are, and what the numbers say so far."""

    @abstractmethod
    def finish(self) -> Fit:
        """Turn the work into a `Fit`, with its verdict; called once, when it is `done`."""

    def arrays(self) -> Arrays:
        """The arrays that a checkpoint needs to hold, by name."""
        start = {f"{self.name}_laplace_{part}": np.asarray(getattr(self.laplace, part)) for part in _LAPLACE}
        return {**start, f"{self.name}_seconds": np.asarray(self.seconds)}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what `arrays` gave; before `begin`.

        Raises:
            InputError: a damaged checkpoint.
        """
        mode, scale_tril, log_density, optima, optima_z = (
            checkpoint[f"{self.name}_laplace_{part}"] for part in _LAPLACE
        )
        self.start = Laplace(mode, scale_tril, float(log_density), optima, optima_z)
        self.seconds = float(checkpoint[f"{self.name}_seconds"])

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time that the body takes to `seconds`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


def next_piece(units: int, seconds: float, most: int) -> int:
    """Units for the next piece, after one of `units` took `seconds`; at most four times as many."""
    return int(np.clip(PIECE_SECONDS * units / max(seconds, 1e-9), 1, min(most, 4 * units + 1)))
