"""How a fit runs: one table for all methods."""

from __future__ import annotations

from dataclasses import dataclass

from gammasky.engine.errors import InputError, unknown_name

METHODS = ("laplace", "svi", "nuts", "auto")
GUIDES = ("flow", "iaf", "mvn", "diagonal")
SCHEDULES = ("constant", "cosine")
MAX_SEED = 2**63 - 1  # what JAX takes
_RATES = {"flow": (3e-3, "cosine")}  # learning rate and schedule of a guide, where they are not asked for
_PAPER = (3e-4, "constant")  # of every other guide: those of arXiv:2604.08648
_LOWEST = {
    "steps": 1, "particles": 1, "starts": 1, "chains": 2, "warmup": 50, "draws": 50, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How a fit runs. Each method reads its own; `auto` reads those of svi and nuts.

    Attributes:
        method: laplace, svi, nuts or auto.
        guide: of svi: flow, iaf, mvn or diagonal.
        steps, particles: optimiser steps of svi; draws per step.
        learning_rate, schedule: of Adam; constant, or a cosine down to 1 % after a warm-up. None: 3e-3 and cosine for
            the flow, and 3e-4 and constant, those of arXiv:2604.08648, for the others.
        clip: largest absolute value of a gradient entry.
        alpha: of the bound that svi maximises, see `Objective`.
        starts: of svi; the best goes on after a tenth of the steps.
        early_stop: end svi when the ELBO is flat, see `is_flat`.
        chains: of nuts, all in step; warmup, draws: iterations of each to learn from, and to keep.
        seed: of every random number of the fit.

    Raises:
        InputError: a value that is none of the choices or out of range; names it.
    """

    method: str = "svi"
    guide: str = "flow"
    steps: int = 5000
    particles: int = 8
    learning_rate: float | None = None
    schedule: str | None = None
    clip: float = 1.0
    alpha: float = 1.0
    starts: int = 1
    early_stop: bool = False
    chains: int = 4
    warmup: int = 400
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        rate, schedule = _RATES.get(self.guide, _PAPER)
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", rate)
        if self.schedule is None:
            object.__setattr__(self, "schedule", schedule)
        for name, choices in (("method", METHODS), ("guide", GUIDES), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise unknown_name(name, getattr(self, name), choices)
        for name, low in _LOWEST.items():
            if getattr(self, name) < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {getattr(self, name)}")
        if self.method == "auto" and self.guide != "flow":
            raise InputError(f"guide: method auto needs 'flow', whose density is known anywhere, got '{self.guide}'")
        if self.seed > MAX_SEED:
            raise InputError(f"seed: expected a whole number of at most {MAX_SEED}, got {self.seed}")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0.0 <= self.alpha <= 1.0:
            raise InputError(f"alpha: expected a number from 0 to 1, got {self.alpha}")
