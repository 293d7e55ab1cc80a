"""`replacing`: the new file whole, or the old file whole, and nothing else in the folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gammasky.engine.files import replacing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "result.nc"
    path.write_text("old")
    return path


def test_new_content_takes_the_place_of_the_old(old: Path) -> None:
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert old.read_text() == "old"
        assert temporary.parent == old.parent
        assert temporary.suffix == ".nc"
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_a_file_that_was_not_there(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "fresh.json")) as temporary:
        temporary.write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["fresh.json"]


def test_content_is_flushed_before_the_name_changes(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths))[1])
    with replacing(old) as temporary:
        temporary.write_text("new")
    assert order == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, MemoryError])
def test_a_failure_leaves_the_old_file(old: Path, failure: type[BaseException]) -> None:
    def interrupted() -> None:
        with replacing(old) as temporary:
            temporary.write_text("half")
            raise failure("in the middle")

    with pytest.raises(failure, match="in the middle"):
        interrupted()
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_names_it(old: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write() -> None:
        with replacing(old) as temporary:
            temporary.write_text("half")
            if at == "write":
                full()

    if at != "write":
        monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*result\.nc'") as caught:
        write()
    assert caught.value.filename == str(old)
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_folder_in_the_way_is_found_before_the_work(tmp_path: Path) -> None:
    entered = []

    def write() -> None:
        with replacing(tmp_path) as temporary:
            entered.append(temporary)

    with pytest.raises(IsADirectoryError, match="Is a directory"):
        write()
    assert entered == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "absent" / "file.txt") as temporary:
            temporary.write_text("new")

    with pytest.raises(FileNotFoundError, match=r"absent/file\.txt'"):
        write()
