"""Folders of one writer at a time: another process that is at work there keeps out all who would change its files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_held
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.fits import fit_of

HOLD = """
import sys
from pathlib import Path
from gammasky.engine.folders import folder_held
with folder_held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
WRITERS = {
    "honest": ["honest", "out", "--data", "sky", "--skies", "20"],
    "simulate": ["simulate", "model.toml", "--data", "sky", "--params", "point.json", "--out", "out"],
    "test": ["test", "model.toml", "--data", "sky", "--null", "S_flat = 2", "--skies", "1", "--executor", "inline",
             "--out", "out"],
    "profile": ["profile", "model.toml", "--data", "sky", "--of", "S_flat", "--points", "6", "--out", "out"],
}  # fmt: skip


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[None]:
    """Another process holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.stdin.close()
        other.wait(timeout=20)


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    """Even one that has written nothing yet keeps others out."""
    taken = "another process writes its results there"
    with held_elsewhere(tmp_path), pytest.raises(InputError, match=taken), folder_held(tmp_path):
        pass
    with folder_held(tmp_path), folder_held(tmp_path):  # again by its own holder
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", WRITERS)
def test_nobody_writes_beside_another_process(writer: str, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "out").mkdir()
    if writer == "honest":
        model = SkyModel("model.toml", Dataset.open("sky"))
        fit_of(tiny / "out", model, 0.1 * np.random.default_rng(1).normal(size=(60, 3)), {"method": "laplace"})
    before = {path.name: path.read_bytes() for path in (tiny / "out").iterdir()}
    with held_elsewhere(tiny / "out"):
        assert main(WRITERS[writer]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gammasky: error: folder out: another process writes its results there")
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (tiny / "out").iterdir()} == before
