"""Campaigns on object storage: pushed while they grow, pulled and gone on with, and never mixed up."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gammasky.distributed.campaign import Tally, load_member, read_rows, status
from gammasky.distributed.member import Member
from gammasky.distributed.mirror import pull, push
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

Run = Callable[..., Tally]
MembersOf = Callable[..., list[Member]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A folder; or a place on a real server, from outside: s3://BUCKET/PATH, with AWS_ENDPOINT_URL."""
    return f"{os.environ.get('GAMMASKY_TEST_S3', (tmp_path / 'bucket').as_uri())}/{tmp_path.name}"


def log(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().split()


def test_there_and_back(run: Run, members_of: MembersOf, url: str, tmp_path: Path) -> None:
    """The mirror grows with the campaign; elsewhere it goes on from there, and fits nothing twice."""
    members = [*members_of(5), *members_of([7], do="fail")]
    here, there = tmp_path / "campaign", tmp_path / "elsewhere"
    run(members)
    lost = here / "members" / f"{Store.key(members[3].spec)}.npz"
    kept = lost.read_bytes()
    lost.unlink()
    assert push(here, url) == 4
    lost.write_bytes(kept)
    assert [push(here, url), push(here, url)] == [1, 0]
    assert pull(url, there) == 5
    assert (status(there).done, status(there).failed) == (5, 1)
    assert not (there / "driver.json").exists()
    key = Store.key(members[2].spec)
    assert load_member(there, key).row == load_member(here, key).row

    (there / "members" / lost.name).unlink()
    assert pull(url, there) == 1
    (there / "members" / lost.name).write_bytes(kept[:100])  # damaged: named, set aside, fitted again
    assert run(members, folder=there, resume=True).fitted == 1
    assert log(tmp_path) == ["0", "1", "2", "3", "4", "7", "3"]
    rows = [[{**row, "wall_seconds": 0} for row in read_rows(folder)] for folder in (here, there)]
    assert rows[0] == rows[1]


def test_what_is_torn_on_the_way_is_sent_again(run: Run, members_of: MembersOf, tmp_path: Path) -> None:
    run(members_of(2))
    url = (tmp_path / "bucket").as_uri()
    push(tmp_path / "campaign", url)
    one = next((tmp_path / "bucket" / "members").iterdir())
    one.write_bytes(one.read_bytes()[:50])
    assert push(tmp_path / "campaign", url) == 1
    assert one.read_bytes() == (tmp_path / "campaign" / "members" / one.name).read_bytes()


def test_a_campaign_that_has_grown_is_the_same(run: Run, members_of: MembersOf, url: str, tmp_path: Path) -> None:
    """Here or there; only one that has grown here and there is not."""
    here, there = tmp_path / "campaign", tmp_path / "elsewhere"
    run(members_of(2), grow=True)
    push(here, url)
    pull(url, there)
    run(members_of(4), grow=True)
    assert pull(url, here) == 0  # a smaller state takes nothing away
    assert status(here).total == 4
    assert push(here, url) == 2
    assert pull(url, there) == 2
    assert [row["name"] for row in read_rows(there)] == [row["name"] for row in read_rows(here)]
    run(members_of(5), folder=there, grow=True)
    assert push(there, url) == 1
    with pytest.raises(InputError, match=r": the campaign has more members there than in .*campaign; pull it first$"):
        push(here, url)
    run([*members_of(4), *members_of([9])], grow=True)
    with pytest.raises(InputError, match=r"the campaign has grown there and in .*campaign, by other members;"):
        push(here, url)


def test_nothing_is_mixed(run: Run, members_of: MembersOf, url: str, tmp_path: Path) -> None:
    run(members_of(2))
    run(members_of(3), folder=tmp_path / "other")
    push(tmp_path / "campaign", url)
    with pytest.raises(InputError, match=rf"^{re.escape(url)}: holds another campaign than .*other; choose another pl"):
        push(tmp_path / "other", url)
    with pytest.raises(InputError, match=r": holds another campaign than .*other; choose another place$"):
        pull(url, tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"mine: no campaign there"):
        pull(url, tmp_path / "mine")
    with pytest.raises(InputError, match=r"holds something else \('thesis.tex'\); choose a place of its own$"):
        push(tmp_path / "campaign", (tmp_path / "mine").as_uri())
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match=r"nothing: no campaign there; `gammasky campaign push DIR .* puts one"):
        pull((tmp_path / "nothing").as_uri(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("bucket/path", r"^URL: expected one such as s3://BUCKET/PATH or file:///PATH, got 'bucket/path'$"),
        ("http://example.org/x", r"^URL: cannot use 'http://example.org/x': expected s3://, gs://, abfs://, file://$"),
        ("abfs://box/x", r"^URL: abfs:// needs adlfs: pip install adlfs$"),
        ("s3://", r"^URL: expected one such as s3://BUCKET/PATH or file:///PATH, got 's3://'$"),
    ],
)
def test_bad_urls(
    bad: str, match: str, run: Run, members_of: MembersOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)  # as where it is not installed
    run(members_of(1))
    for call in (lambda: push(tmp_path / "campaign", bad), lambda: pull(bad, tmp_path / "new")):
        with pytest.raises(InputError, match=match):
            call()
    with pytest.raises(InputError, match=r"nowhere: no campaign there"):
        push(tmp_path / "nowhere", (tmp_path / "bucket").as_uri())
