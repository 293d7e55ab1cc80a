"""What tests of searches share: an objective that workers can import, and a search run inline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.tuning.search import Found, tune

SPACE = {"x": FloatDistribution(-10.0, 10.0)}


@pytest.fixture
def search(tmp_path: Path, tasks: ModuleType) -> Callable[..., Found]:
    """Search in tmp_path/study for the bottom of a valley; each rung is noted in tmp_path/log."""

    def start(trials: int = 8, space: Any = SPACE, **options: Any) -> Found:
        folder = options.pop("folder", tmp_path / "study")
        objective = options.pop("objective", tasks.Valley(str(tmp_path / "log")))
        settings = {"about": {"valley": 1}, "quiet": True, **options}
        return tune(folder, objective, space, trials, settings.pop("runner", InlineRunner()), **settings)

    return start
