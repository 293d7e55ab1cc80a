"""The examples in the docstrings of public names say what comes out."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import gammasky
from gammasky.engine.infer import figures

NAMES = [name for name in gammasky.__all__ if not name.startswith("_")]
FIRST = ("fit", "Ensemble")  # others read the folders that these write

pytestmark = pytest.mark.usefixtures("compiled_fast", "few_replicas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", [*FIRST, *(name for name in NAMES if name not in FIRST)])
def test_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stands alone, but for what FIRST left in the folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(figures, "save_figures", lambda *_: [])  # they take longest
    told = inspect.getdoc(getattr(gammasky, name)) or ""
    example = doctest.DocTestParser().get_doctest(told, {}, name, None, None)
    assert example.examples, f"gammasky.{name} has no example"
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(example, out=failures.append)
    assert not failures, "".join(failures)
