"""A fit by the default method whose process is killed goes on from its checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gammasky.engine.infer.emulator import emulation
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast")
SETTINGS = Settings(seed=3)
FEW = {"FIRST_STEPS": 200, "ROUND_STEPS": 100, "LAST_STEPS": 200, "FIRST": 256, "TESTED": 4}
FITS = """
import json, sys
from pathlib import Path
import gammasky
from gammasky.engine.infer.emulator import emulation
from gammasky.engine.infer.run import fit
model, sky, folder, seed, few = sys.argv[1:]
gammasky.configure()
for name, value in json.loads(few).items():
    setattr(emulation, name, value)
fit(gammasky.SkyModel(Path(model), gammasky.Dataset.open(sky)), gammasky.Settings(seed=int(seed)), folder=Path(folder),
    checkpoint_seconds=0.0, watch=lambda stage: print(stage.emulation.phase, flush=True))
"""


@pytest.mark.slow
def test_a_killed_fit_ends_in_the_numbers_of_one_that_was_not(
    tiny_model: SkyModel, tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `kill -9`, which nobody can answer, in the middle of a phase: checkpoints are written all the time then."""
    given = [tiny_files / "model.toml", tiny_files / "sky", tmp_path, SETTINGS.seed, json.dumps(FEW)]
    line = [sys.executable, "-P", "-c", FITS, *map(str, given)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(text == "draw_pool\n" for text in process.stdout)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with np.load(tmp_path / CHECKPOINT) as kept:
        assert json.loads(str(kept["emulator_plain"]))["phase"] not in ("first", "done")
    for name, value in FEW.items():
        monkeypatch.setattr(emulation, name, value)
    resumed, whole = fit(tiny_model, SETTINGS, folder=tmp_path, resume=True), fit(tiny_model, SETTINGS)
    np.testing.assert_array_equal(resumed.z, whole.z)
    np.testing.assert_array_equal(resumed.log_likelihood, whole.log_likelihood)
    timeless = [{name: of for name, of in found.diagnostics.items() if name != "spent"} for found in (resumed, whole)]
    assert timeless[0] == timeless[1]
    assert resumed.verdict == whole.verdict
