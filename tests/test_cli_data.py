"""`gammasky data`: what is listed, checked and downloaded, and the exit codes."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError

FILES = importlib.import_module("gammasky.engine.sky.fetch")  # `sky.fetch` may also be the function of that name


def test_list_says_where_files_are_or_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = SimpleNamespace(name="near", description="a near sky", folder=Path("/data/near"))
    gone = SimpleNamespace(name="far", description="a far sky", folder=None)
    monkeypatch.setattr(FILES, "list_datasets", lambda: [here, gone])
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "near: a near sky",
        "    /data/near",
        "far: a far sky",
        "    not on this machine; get it with: gammasky data fetch far",
    ]


REMEDY = "2 files missing or wrong; get them with: gammasky data fetch fermi"


@pytest.mark.parametrize(
    ("statuses", "words", "code", "lines"),
    [
        (["ok", "ok"], [], 0, ["ok               0.npy", "ok               1.npy"]),
        (["ok", "ok"], ["--quiet"], 0, []),
        (["ok", "wrong checksum"], ["--quiet"], 1, ["wrong checksum   1.npy", f"1 of {REMEDY}"]),
        (["missing"] * 2, ["fermi"], 1, ["missing          0.npy", "missing          1.npy", f"2 of {REMEDY}"]),
    ],
)
def test_check_exits_with_1_unless_all_is_right(
    statuses: list[str], words: list[str], code: int, lines: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = [(f"{number}.npy", status) for number, status in enumerate(statuses)]
    monkeypatch.setattr(FILES, "check", lambda _name, _folder: found)
    assert main(["data", "check", *words]) == code
    assert capsys.readouterr().out.splitlines() == lines


def test_check_and_fetch_pass_their_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def check(*arguments: Any) -> list[tuple[str, str]]:
        calls.append(arguments)
        return []

    monkeypatch.setattr(FILES, "check", check)
    monkeypatch.setattr(FILES, "fetch", lambda *arguments, **options: calls.append((*arguments, options)))
    assert main(["data", "check", "--data-dir", "here"]) == 0
    assert main(["data", "fetch"]) == 0
    assert main(["data", "fetch", "other", "--folder", "there", "--base-url", "http://x", "--quiet"]) == 0
    assert calls == [
        ("fermi", Path("here")),
        ("fermi", None, None, {"progress": True}),
        ("other", Path("there"), "http://x", {"progress": False}),
    ]


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fetch(*_arguments: Any, **_options: Any) -> None:
        raise InputError("a.npy: download failed: http://x: HTTP status 404; try again later")

    monkeypatch.setattr(FILES, "fetch", fetch)
    assert main(["data", "fetch"]) == 2
    assert capsys.readouterr().err.startswith("gammasky: error: a.npy: download failed")


def test_an_unknown_data_set_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "fermy"]) == 2
    assert "did you mean 'fermi'?" in capsys.readouterr().err


@pytest.mark.data
def test_the_shared_fermi_files_are_right(fermi_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--data-dir", str(fermi_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 25
    assert all(line.startswith("ok ") for line in lines)
