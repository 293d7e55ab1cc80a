"""Good words of the command line, how it refuses bad ones, and how files are spoiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gammasky.cli import main

POINT = {"S_flat": 2.0, "Sps": 3.0, "mix": [0.5, 0.5]}
SVI = ["--method", "svi", "--no-emulator", "--guide", "diagonal", "--steps", "2"]

Spoil = Callable[[Path], object]
Capture = pytest.CaptureFixture[str]


def refusal(capsys: Capture, *words: str) -> str:
    """The one line with which the command line refuses, having written nothing."""
    before = sorted(Path().rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gammasky: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert sorted(Path().rglob("*")) == before
    return printed.err


def fit_words(*more: str) -> list[str]:
    options = ["--data", "sky", "--out", "a/b/out", *SVI, "--quiet"]
    return ["fit", "model.toml", *options, *more]


def simulate_words(*more: str, source: tuple[str, ...] = ("--params", "point.json")) -> list[str]:
    return ["simulate", "model.toml", "--data", "sky", "--out", "a/b/skies", "--quiet", *source, *more]


def calibrate_words(*more: str) -> list[str]:
    options = ["--data", "sky", "--out", "a/b/out", *SVI, "--skies", "2", "--quiet"]
    return ["calibrate", "model.toml", *options, *more]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Spoil a map."""
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def pixel(name: str, value: float, number: int = 7) -> Spoil:
    """Spoil a pixel of a map: 7 is near the pole, 1759 in the region."""
    return array(name, lambda values: np.where(np.arange(values.size) == number, value, values.astype(float)))


def text(name: str, old: str, new: str) -> Spoil:
    """Replace words in a text file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_text(encoding="utf-8")
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1), encoding="utf-8")

    return change


def cut(name: str, size: int) -> Spoil:
    """Truncate a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def manifest(old: str, new: str) -> Spoil:
    return text("dataset.toml", old, new)
