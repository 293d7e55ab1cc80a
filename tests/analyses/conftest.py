"""What tests of fits of members share: a desk that notes, and the user's cache left alone."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest


@dataclass
class NotingDesk:
    """A `Desk` that notes what it is told, and interrupts the fit at a fraction, as Ctrl-C does."""

    folder: Path = Path()
    lanes: int = 1
    stop_at: float = 2.0
    told: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def report(self, fraction: float, **values: float) -> None:
        self.told.append((fraction, values))
        if fraction >= self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="session")
def desk_at() -> type[NotingDesk]:
    """`desk_at(folder, stop_at=0.1)`."""
    return NotingDesk


@pytest.fixture(scope="session")
def even_files(tiny_files: Path, places: tuple[np.ndarray, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set and model, with the counts that are expected: no sky has less need of point sources."""
    folder = tmp_path_factory.mktemp("even")
    shutil.copytree(tiny_files, folder, dirs_exist_ok=True)
    np.save(folder / "sky" / "counts.npy", np.round(3.0 + 10 * np.exp(-places[2] / 8.0)).astype(np.int64))
    return folder


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache of compiled programs stays as it is."""
    for module in ("ensemble.task", "tuning.objectives", "calibration.run", "nested.task", "profiles.task"):
        monkeypatch.setattr(f"gammasky.analyses.{module}.configure", lambda: None)
