"""Where the demo sky is kept: made once, whole or not at all; with a writer that stands in for the real one."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.sky import Dataset, check, fetch, list_datasets
from gammasky.engine.sky.demo import DEMOS, cache
from gammasky.engine.sky.manifest import read_manifest, shipped_manifests

NAMES = {"dataset.toml", "demo_counts.npy", "demo_exposure.npy", "demo_mask.npy"} | {
    f"demo_{name}.npy"
    for name in "Opi Api Fpi Oic Aic Fic iso bub psc_3fgl macias2019 coleman2019 f98".split()  # noqa: SIM905
}


class Writer:
    """Writes files of the right names at once; `before` runs when all but the checksums are there."""

    def __init__(self) -> None:
        self.calls = 0
        self.before: Callable[[Path], None] = lambda _folder: None

    def __call__(self, folder: Path, manifest_file: Path) -> None:
        assert manifest_file.name == "demo.toml"
        self.calls += 1
        for name in NAMES:
            (folder / name).write_text(name)
        self.before(folder)
        sums = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in sorted(NAMES)]
        (folder / "SHA256SUMS").write_text("".join(sums))


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Writer:
    """The stand-in, and a cache of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAMMASKY_DATA", raising=False)
    stand_in = Writer()
    module = importlib.import_module("gammasky.engine.sky.demo.build")
    monkeypatch.setattr(module, "write_demo", stand_in)
    return stand_in


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_made_once_and_kept(writer: Writer, tmp_path: Path) -> None:
    folder = cache.made_folder()
    assert folder.is_relative_to(tmp_path / "cache")
    assert content(folder) == NAMES | {"SHA256SUMS"}
    assert cache.made_folder() == folder == cache.demo_folder()
    assert writer.calls == 1
    assert content(folder.parent) == {folder.name}


def test_its_folder_is_named_after_what_it_follows_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writer: Writer
) -> None:
    first = cache.demo_folder()
    assert first == cache.demo_folder()
    monkeypatch.setattr(cache, "code_version", lambda: "of another code")
    second = cache.demo_folder()
    changed = tmp_path / "demo.toml"
    changed.write_text(shipped_manifests()["demo"].read_text() + "# another truth\n")
    monkeypatch.setattr(cache, "shipped_manifests", lambda: {"demo": changed})
    assert len({first, second, cache.demo_folder()}) == 3
    assert writer.calls == 0


@pytest.mark.parametrize("damage", ["truncated", "missing", "no checksums", "a file in its place"])
def test_a_damaged_folder_is_made_anew(writer: Writer, damage: str) -> None:
    folder = cache.made_folder()
    if damage == "truncated":
        (folder / "demo_Opi.npy").write_text("demo")
    elif damage == "missing":
        (folder / "demo_counts.npy").unlink()
    else:
        (folder / "SHA256SUMS").write_bytes(b"\xff\xfe nonsense")
    if damage.startswith("a file"):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.write_text("in the way")
    assert cache.made_folder() == folder
    assert writer.calls == 2
    assert cache.is_whole(folder)
    assert content(folder.parent) >= {folder.name}


def test_an_interrupt_leaves_nothing(writer: Writer) -> None:
    def interrupt(_folder: Path) -> None:
        raise KeyboardInterrupt

    writer.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        cache.made_folder()
    assert content(cache.demo_folder().parent) == set()


def test_another_process_may_be_first(writer: Writer) -> None:
    """While one writes, another one's folder takes the place."""

    def other(_folder: Path) -> None:
        writer.before = lambda _folder: None
        cache.made_folder()

    writer.before = other
    folder = cache.made_folder()
    assert writer.calls == 2
    assert cache.is_whole(folder)
    assert content(folder.parent) == {folder.name}


def test_several_at_once(writer: Writer) -> None:
    writer.before = lambda _folder: time.sleep(0.02)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(cache.made_folder())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = cache.demo_folder()
    assert found == [folder] * 6
    assert cache.is_whole(folder)
    assert content(folder.parent) == {folder.name}


def test_a_cache_that_cannot_be_written_is_one_line(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(
        InputError, match=r"dataset 'demo': cannot be made in .*set XDG_CACHE_HOME to a folder"
    ) as caught:
        Dataset.open("demo")
    assert "\n" not in str(caught.value)
    assert writer.calls == 0


def test_fetch_makes_it_where_asked(writer: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "elsewhere" / "sky"
    assert fetch("demo", folder) == folder
    assert "nothing to download" in capsys.readouterr().err
    assert fetch("demo", folder, progress=False) == folder
    assert writer.calls == 1
    (folder / "demo_bub.npy").unlink()
    fetch("demo", folder, progress=False)
    assert cache.is_whole(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    fetch("demo", empty, progress=False)
    assert cache.is_whole(empty)
    assert capsys.readouterr().err == ""
    assert content(cache.demo_folder().parent) == set()


@pytest.mark.parametrize("name", ["notes.txt", "SHA256SUMS"])
def test_a_folder_with_other_files_is_left_alone(writer: Writer, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("of something else")
    (tmp_path / "mine" / "counts.npy").write_text("mine")
    with pytest.raises(InputError, match="mine: holds other files; choose a new or an empty folder"):
        fetch("demo", tmp_path / "mine", progress=False)
    assert content(tmp_path / "mine") == {name, "counts.npy"}
    assert writer.calls == 0


@pytest.mark.usefixtures("writer")
def test_demos_of_other_versions_go_once_nobody_asks_for_them() -> None:
    current = cache.made_folder()
    home = current.parent

    def other(name: str, days: float, *more: str) -> Path:
        folder = shutil.copytree(current, home / name)
        for file in more:
            (folder / file).touch()
        then = time.time() - days * 86400
        for path in (*folder.iterdir(), folder):
            os.utime(path, (then, then))
        return folder

    old, torn = other("0123456789abcdef", 3.0), other(".0123456789abcdef.01234567", 3.0, "half.npy")
    kept = [
        other("1123456789abcdef", 1.0),  # asked for yesterday
        other("2123456789abcdef", 3.0, "notes.txt"),
        other("my-own-demo", 3.0),
        other(".0123456789abcdef.11234567", 1.0),  # somebody may be writing it
    ]
    (kept[1] / "empty").mkdir()
    link = home / "3123456789abcdef"
    link.symlink_to(kept[2])
    shutil.rmtree(current)
    assert cache.made_folder() == current
    assert not old.exists()
    assert not torn.exists()
    assert all(folder.is_dir() for folder in [*kept, link])
    assert cache.is_whole(kept[2])


def test_a_use_is_a_reason_to_stay(writer: Writer) -> None:
    current = cache.made_folder()
    os.utime(current / "SHA256SUMS", (0, 0))
    cache.made_folder()
    assert time.time() - (current / "SHA256SUMS").stat().st_mtime < 3600
    assert writer.calls == 1


def test_check_and_list(writer: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [entry.folder for entry in list_datasets() if entry.name == "demo"] == [None]
    with pytest.raises(InputError, match=r"dataset 'demo': not in .*made when first used.*gammasky data fetch demo"):
        check("demo")
    assert writer.calls == 0
    assert main(["data", "fetch", "demo", "--quiet"]) == 0
    assert [entry.folder for entry in list_datasets() if entry.name == "demo"] == [cache.demo_folder()]
    assert dict(check("demo")) == dict.fromkeys(NAMES, "ok")
    (cache.demo_folder() / "demo_bub.npy").write_text("spoilt")
    (cache.demo_folder() / "demo_f98.npy").unlink()
    capsys.readouterr()
    assert main(["data", "check", "demo", "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "wrong checksum   demo_bub.npy",
        "missing          demo_f98.npy",
    ]
    fetch("demo", tmp_path / "there", progress=False)
    assert {status for _, status in check("demo", tmp_path / "there")} == {"ok"}
    with pytest.raises(InputError, match=r"not in .*nowhere"):
        check("demo", tmp_path / "nowhere")


def test_a_data_folder_is_searched_only_if_named(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$GAMMASKY_DATA is where the Fermi-LAT files are; --data-dir is an order."""
    monkeypatch.setenv("GAMMASKY_DATA", str(tmp_path))
    assert [entry.folder for entry in list_datasets() if entry.name == "demo"] == [None]
    with pytest.raises(InputError, match=r"demo_counts\.npy not found in .*run `gammasky data fetch demo`"):
        Dataset.open("demo", tmp_path)
    assert writer.calls == 0
    fetch("demo", tmp_path / "there", progress=False)
    (tmp_path / "there" / "demo_counts.npy").write_text("of another sky")
    with pytest.raises(InputError, match=r"dataset 'demo': its files in .*there are not the demo's"):
        Dataset.open("demo", tmp_path / "there")


def test_only_simulated_data_have_a_truth() -> None:
    truths = {name: read_manifest(path).truth for name, path in shipped_manifests().items()}
    for name in DEMOS:
        assert truths.pop(name)["theta_pib"] == (0.6, 0.3, 0.1)
    assert not any(truths.values())
