"""What cannot be searched, and where: one line each, before anything starts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed.tuning.sampling import check_sampler
from gammasky.distributed.tuning.search import Found
from gammasky.engine.errors import InputError

Search = Callable[..., Found]


@pytest.mark.parametrize(("module", "package"), [("psycopg", "psycopg[binary]"), ("psycopg2", "psycopg2-binary")])
def test_a_driver_that_is_not_installed(
    search: Search, monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"no driver for .*'?{module}'?.*; pip install '{re.escape(package)}'$"):
        search(storage=f"postgresql+{module}://user:secret@127.0.0.1:1/name")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all/study.db", "storage: no database answers at sqlite:////nowhere/at/all/study.db: "),
        ("no url", "storage: expected a URL such as .*, got 'no url'"),
        ("nosuch://user:secret@host/name", r"storage: no driver for nosuch://user:\*\*\*@host/name"),
    ],
)
def test_an_unreachable_database(search: Search, tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        search(storage=url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_folders_that_hold_something_else(search: Search, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no search there; start it without `resume=True`"):
        search(resume=True)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match=r"holds something else \('thesis.tex'\)"):
        search()
    (tmp_path / "study" / "thesis.tex").unlink()
    search(1)
    with pytest.raises(InputError, match=r"holds a search; go on with `resume=True`"):
        search(1)
    with pytest.raises(InputError, match=r"holds another search: about.valley was 1, is 2; resume with the same"):
        search(1, resume=True, about={"valley": 2})
    (tmp_path / "study" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        search(1, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials: expected a whole number of at least 1, got 0"),
        ({"space": {}}, "space: expected at least one setting"),
        ({"direction": "maximise"}, "unknown direction 'maximise'; did you mean 'maximize'"),
        ({"rungs": (4, 2)}, r"rungs: expected rising whole numbers of at least 1, got \[4, 2\]"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"first": [{"y": 1.0}]}, "unknown setting 'y'"),
        ({"first": [{"x": 11.0}]}, "setting 'x': expected -10 to 10, got 11.0"),
        ({"first": [{}]}, "setting 'x': no value given"),
    ],
)
def test_what_cannot_be_searched(search: Search, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search(**options)
    assert not (tmp_path / "study").exists()


def test_an_objective_of_the_wrong_kind(search: Search, tasks: ModuleType) -> None:
    found = search(1, objective=tasks.wrong_value)
    assert found.trials[0].error == "TypeError: an objective must return Reached, got float"
    assert found.best is None


def test_a_sampler_of_one_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    with pytest.raises(InputError, match="takes one objective, got 2; take one of tpe, random"):
        check_sampler("cmaes", 2)
