"""Campaigns that go on where another run ended: what is missing, damaged, new, or of other versions and data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gammasky.distributed import software
from gammasky.distributed.campaign import Tally, load_member, read_manifest, read_rows
from gammasky.distributed.member import Member, Resources
from gammasky.distributed.runners.base import Work
from gammasky.distributed.runners.seat import about_of
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError
from gammasky.engine.machine import versions
from tests.distributed.campaign_tasks import started

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", "half"])
def test_a_damaged_member_is_set_aside_and_fitted_again(
    run: Run, members_of: MembersOf, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes | str
) -> None:
    members = members_of(3)
    run(members)
    folder = tmp_path / "campaign"
    key = Store.key(members[1].spec)
    path = folder / "members" / f"{key}.npz"
    content = path.read_bytes()
    broken = content[: len(content) // 2] if isinstance(damage, str) else damage
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"npz: damaged; run `gammasky campaign resume "):
        load_member(folder, key)
    tally = run(members, resume=True)
    assert (tally.done, tally.fitted) == (3, 1)
    assert started(tmp_path) == [0, 1, 2, 1]
    assert (folder / "damaged" / f"{key}.npz").read_bytes() == broken
    assert "warning: the file of 'number=1' is damaged; set aside as" in capsys.readouterr().err
    assert load_member(folder, key).row["square"] == 1


@pytest.mark.parametrize("record", ["", "3", "{}", '{"row": 3, "seconds": 1, "attempts": 1, "spec": {}}'])
def test_a_record_of_another_release_is_none(
    run: Run, members_of: MembersOf, tmp_path: Path, record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = members_of(2)
    run(members)
    key = Store.key(members[1].spec)
    Store(tmp_path / "campaign" / "members").save(key, {"campaign_record": np.array(record)})
    assert len(read_rows(tmp_path / "campaign")) == 1
    with pytest.raises(InputError, match=r"npz: damaged; run `gammasky campaign resume "):
        load_member(tmp_path / "campaign", key)
    assert run(members, resume=True).fitted == 1
    assert "warning: the file of 'number=1' is damaged" in capsys.readouterr().err


def test_going_on_reads_the_records_only(
    run: Run, members_of: MembersOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However large the results are. What is damaged deep inside is found where it is asked for."""
    members = members_of(3, size=200_000)
    run(members)
    path = tmp_path / "campaign" / "members" / f"{Store.key(members[1].spec)}.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = read_bytes()
    assert run(members, resume=True).fitted == 0
    assert read_bytes() - before < 3 * len(content) / 10
    with pytest.raises(InputError, match=r"npz: damaged; run `gammasky campaign resume .*` with `check=True`$"):
        load_member(tmp_path / "campaign", path.stem)
    assert run(members, resume=True, check=True).fitted == 1
    assert "warning: the file of 'number=1' is damaged" in capsys.readouterr().err
    assert load_member(tmp_path / "campaign", path.stem).row["square"] == 1


def read_bytes() -> int:
    """That this process has read so far, from files and caches."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("rchar"))


def test_a_run_goes_on_with_what_is_missing(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    members = members_of(6)
    run(members)
    folder = tmp_path / "campaign"
    for member in members[2:4]:
        (folder / "members" / f"{Store.key(member.spec)}.npz").unlink()
    torn = folder / "members" / f".{Store.key(members[0].spec)}.0123abcd.npz"
    torn.write_bytes(b"half")
    (folder / "running.json").write_text("{}")
    scratch = folder / "scratch" / Store.key(members[0].spec)
    scratch.mkdir()
    assert run(members, resume=True).fitted == 2
    assert started(tmp_path) == [0, 1, 2, 3, 4, 5, 2, 3]
    assert not torn.exists()
    assert not scratch.exists()
    assert not (folder / "running.json").exists()


def test_a_finished_campaign_starts_no_workers(run: Run, members_of: MembersOf) -> None:
    members = members_of(2)
    run(members)
    assert run(members, resume=True, runner=None).fitted == 0


def test_every_row_says_with_what_it_was_made(
    run: Run, members_of: MembersOf, tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And other versions are not mixed in, unless a user says so by name."""
    task = tasks.Told(str(tmp_path / "log"))
    run(members_of(2), task=task)
    rows = read_rows(tmp_path / "campaign")
    assert [(row["backend"], row["version_jax"]) for row in rows] == [("none", versions()["version_jax"])] * 2
    assert read_manifest(tmp_path / "campaign").software == versions()
    here = {**versions(), "version_numba": "9.9", "version_cupy": "1.0"}
    monkeypatch.setattr(software, "versions", lambda: here)
    match = r"campaign: here is numba 9.9, but the campaign's fits are made with numba .*; install that, or allow"
    with pytest.raises(InputError, match=match):
        run(members_of(2), task=task, resume=True)
    with pytest.raises(InputError, match=r"^unknown package 'nunba'; did you mean 'numba'\?"):
        run(members_of(2), task=task, resume=True, allow_mixed=["nunba"])
    assert run(members_of(2), task=task, resume=True, allow_mixed=["numba"]).done == 2


def test_a_worker_of_other_versions_is_refused(tasks: ModuleType, tmp_path: Path) -> None:
    other = {**versions(), "version_jax": "0.1"}
    with pytest.raises(InputError, match=r"^software: here is jax .*, but the campaign's fits are made with jax 0.1; "):
        about_of(Work(tasks.Told(), tmp_path, Resources(), other))
    assert about_of(Work(tasks.Told(), tmp_path, Resources(), other, ("jax",)))["backend"] == "none"
    assert about_of(Work(tasks.Square(), tmp_path, Resources(), other)) == {}


def test_a_campaign_grows_and_never_loses_a_member(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    """More members and another description go together if every member that is there is asked for again."""
    first, more = {"numbers": 2}, {"numbers": 4}
    run(members_of(2), manifest=first, grow=True)
    tally = run([*members_of([7]), *members_of(3)], manifest=more, grow=True)
    assert (tally.done, tally.fitted) == (4, 2)
    manifest = read_manifest(tmp_path / "campaign")
    assert manifest.campaign == more
    assert [member.name for member in manifest.members] == [m.name for m in (*members_of([7]), *members_of(3))]
    with pytest.raises(InputError, match="of other settings or data: numbers was 4, is 2; choose another f"):
        run(members_of(3), manifest=first, grow=True)
    assert read_manifest(tmp_path / "campaign") == manifest
    assert run(members_of(1), manifest=more, grow=True).fitted == 0  # some of them, under the same description
    assert read_manifest(tmp_path / "campaign") == manifest


@pytest.mark.parametrize("how", ["resume", "grow"])
def test_a_member_that_is_another_fit_now(run: Run, members_of: MembersOf, tmp_path: Path, how: str) -> None:
    """As when data were changed after the campaign began: nothing is mixed, and the line says what changed."""
    before, now = (members_of(3, data={"counts": "a", "psf": {"sigma": sigma}}) for sigma in (0.1, 2.0))
    run(before)
    with pytest.raises(InputError, match=r"'number=0' of the campaign there has changed: data.psf.sigma was 0.1, is 2"):
        run(now, **{how: True})
    for path in (tmp_path / "campaign" / "members").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="'number=0' of the campaign there has changed: it is a fit of another"):
        run(now, **{how: True})
    assert read_manifest(tmp_path / "campaign").members[0].key == Store.key(before[0].spec)
