"""`import gammasky` and the command line start without the heavy packages; public names arrive when used."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import gammasky

HEAVY = (
    "ray",
    "matplotlib",
    "jax",
    "numba",
    "healpy",
    "astropy",
    "scipy",
    "pydantic",
    "numpy",
    "optuna",
    "numpyro",
    "jinja2",
)


def loaded_by(code: str, folder: Path) -> set[str]:
    """The heavy packages that a fresh interpreter holds after `code`."""
    report = f"{code}\nimport sys\nprint('LOADED', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-P", "-c", report], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(result.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("module", ["gammasky", "gammasky.engine.errors", "gammasky.cli", "gammasky.doctor"])
def test_import_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    assert loaded_by(f"import {module}", tmp_path) == set()


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["fit", "--help"], ["loglike", "--help"], ["data", "--help"], ["models"]]
)
def test_help_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    assert loaded_by(f"from gammasky.cli import main\nassert main({words!r}) == 0", tmp_path) == set()


def test_the_probe_sees_what_is_loaded(tmp_path: Path) -> None:
    assert loaded_by("import numpy", tmp_path) == {"numpy"}


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"]])
def test_help_takes_less_than_half_a_second_of_a_core(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", "from gammasky.cli import main; main()", *words]
    times = []
    for _ in range(7):
        before = children_seconds()
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        times.append(children_seconds() - before)
    assert 0.0 < statistics.median(times) < 0.5


def children_seconds() -> float:
    """Processor time of all processes that this one has waited for: what else the machine does is no part of it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Dataset", "gammasky.engine.sky.dataset"),
        ("SkyModel", "gammasky.engine.model"),
        ("fit", "gammasky.engine.infer"),
    ],
)
def test_public_names_are_those_of_the_engine(name: str, home: str) -> None:
    module = __import__(home, fromlist=[name])
    assert getattr(gammasky, name) is getattr(module, name)
    assert name in dir(gammasky)
    assert name in gammasky.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'gammasky' has no attribute 'DataSet'.*Dataset"):
        _ = gammasky.DataSet
