"""`gammasky loglike`: JSON out, a whole pixel file or none, and one line for a damaged parameter file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gammasky.engine.model
from gammasky.cli import main
from gammasky.engine import runtime
from gammasky.engine.errors import InputError

PIXELS = np.array([-1.5, -2.0, -0.25])


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands in for the engine's evaluation; notes how it was called."""
    noted: list[tuple[Any, ...]] = []

    def evaluate(*arguments: Any, gradient: bool) -> SimpleNamespace:
        noted.append((*arguments, gradient))
        slopes = {"S_iso": np.float64(2.0), "theta": np.array([1.0, -1.0])} if gradient else None
        return SimpleNamespace(log_likelihood=np.float64(-3.75), gradient=slopes, per_pixel=PIXELS)

    replacement = ModuleType("gammasky.engine.model.loglike")
    replacement.__dict__["evaluate"] = evaluate
    monkeypatch.setitem(sys.modules, "gammasky.engine.model.loglike", replacement)
    monkeypatch.setattr(gammasky.engine.model, "loglike", replacement, raising=False)
    monkeypatch.setattr(runtime, "configure", lambda: noted.append(("configure",)))
    return noted


@pytest.fixture
def point(tmp_path: Path) -> Path:
    path = tmp_path / "point.json"
    path.write_text('{"S_iso": 1, "theta": [0.25, 0.75]}')
    return path


def test_value_only(point: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loglike", "fiducial", "--params", str(point)]) == 0
    assert json.loads(capsys.readouterr().out) == {"log_likelihood": -3.75, "pixels": 3}
    given = {"S_iso": 1.0, "theta": [0.25, 0.75]}
    assert calls == [("configure",), ("fiducial", "fermi", None, given, False)]


def test_with_gradient(point: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loglike", "fiducial", "--data", "fermi", "--params", str(point), "--grad"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["gradient"] == {"S_iso": 2.0, "theta": [1.0, -1.0]}


def test_per_pixel_file(point: Path, tmp_path: Path) -> None:
    file = tmp_path / "logp.npy"
    file.write_bytes(b"an older file")
    assert main(["loglike", "fiducial", "--params", str(point), "--per-pixel", str(file)]) == 0
    np.testing.assert_array_equal(np.load(file, allow_pickle=False), PIXELS)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["logp.npy", "point.json"]


def test_a_full_disk_leaves_the_old_file(
    point: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    def full(stream: Any, *_arguments: Any, **_options: Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "logp.npy"
    file.write_bytes(b"an older file")
    monkeypatch.setattr(np, "save", full)
    assert main(["loglike", "fiducial", "--params", str(point), "--per-pixel", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "No space left on device" in printed.err
    assert file.read_bytes() == b"an older file"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["logp.npy", "point.json"]


def test_a_missing_folder_is_found_before_the_work(
    point: Path, tmp_path: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "absent" / "logp.npy"
    assert main(["loglike", "fiducial", "--params", str(point), "--per-pixel", str(file)]) == 2
    assert "does not exist; create it first" in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"S_iso": 1,', "expected a JSON object"),
        ("", "expected a JSON object"),
        ("[1, 2]", "expected a JSON object, got list"),
        ('{"S_iso": "one"}', "'S_iso': expected finite numbers, got \"one\""),
        ('{"S_iso": true}', "'S_iso': expected finite numbers, got true"),
        ('{"S_iso": null}', "'S_iso': expected finite numbers, got null"),
        ('{"S_iso": NaN}', "'S_iso': expected finite numbers, got NaN"),
        ('{"S_iso": 1e999}', "'S_iso': expected finite numbers, got Infinity"),
        ('{"S_iso": ' + "9" * 400 + "}", "'S_iso': expected finite numbers"),
        ('{"theta": [1, [2]]}', "'theta': expected finite numbers, got [2]"),
        ('{"S_iso": 1, "S_iso": 2}', "'S_iso' is given twice"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_a_damaged_parameter_file_is_one_line(
    text: str, message: str, tmp_path: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "point.json"
    file.write_text(text)
    assert main(["loglike", "fiducial", "--params", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert "point.json" in printed.err
    assert calls == []


@pytest.mark.parametrize("content", [b"\xff\xfe\x00{", None])
def test_an_unreadable_parameter_file_is_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "point.json"
    if content is not None:
        file.write_bytes(content)
    assert main(["loglike", "fiducial", "--params", str(file)]) == 2
    assert f"parameter file '{file}'" in capsys.readouterr().err


def test_an_error_of_the_engine_leaves_no_output(
    point: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*_arguments: Any, **_options: Any) -> None:
        raise InputError("parameter 'S_isso' is unknown")

    monkeypatch.setattr(sys.modules["gammasky.engine.model.loglike"], "evaluate", evaluate)
    file = tmp_path / "logp.npy"
    assert main(["loglike", "fiducial", "--params", str(point), "--per-pixel", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "gammasky: error: parameter 'S_isso' is unknown\n"
    assert not file.exists()
