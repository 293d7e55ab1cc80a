"""A search whose study is in PostgreSQL, as on a cluster: a server of its own, stopped in the middle and started again.

Skipped where PostgreSQL's programs or psycopg are missing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky.distributed.tuning.rung import Reached, TrialDesk
from gammasky.distributed.tuning.search import Found
from gammasky.engine.errors import InputError

PROGRAMS = [Path(found).parent for found in [shutil.which("initdb")] if found]
PROGRAMS += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian's, which are on no PATH


@dataclass(frozen=True)
class Server:
    """A server for one user on a loopback port, its files in `folder`."""

    folder: Path
    port: int
    user: str | None  # whose processes they are: as root it does not run

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://sky@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self._call("initdb", "--username=sky", "--auth=trust", "--encoding=UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F"
        self._call("pg_ctl", "start", "--wait", "--log", str(self.folder / "log"), "--options", options)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _call(self, program: str, *options: str) -> None:
        line = [str(PROGRAMS[0] / program), "-D", str(self.folder / "data"), *options]
        done = subprocess.run(
            line, user=self.user, cwd=self.folder, timeout=60, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture
def server(port: int) -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="psycopg not found")
    if not PROGRAMS:
        pytest.skip("PostgreSQL not found")
    with tempfile.TemporaryDirectory(prefix="gs", dir="/tmp") as folder:
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        made = Server(Path(folder), port, user)
        made.make()
        made.start()
        yield made
        made.stop()


@dataclass(frozen=True)
class StopsServer:
    """An objective that stops the server before its third rung."""

    valley: Any
    server: Server
    log: Path

    def __call__(self, params: dict[str, Any], share: float, desk: TrialDesk) -> Reached:
        if self.log.exists() and len(self.log.read_text().splitlines()) == 2:
            self.server.stop()
        return self.valley(params, share, desk)


def test_a_database_that_goes_away_and_comes_back(
    search: Callable[..., Found], tasks: ModuleType, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    stops = StopsServer(tasks.Valley(str(log)), server, log)
    with pytest.raises(InputError, match=r"^storage: postgresql.* does not answer any more: .*; once it does, go"):
        search(3, objective=stops, storage=server.url)
    with pytest.raises(InputError, match=r"^storage: no database answers at postgresql.*[Cc]onnection refused"):
        search(3, storage=server.url, resume=True)
    server.start()
    found = search(3, storage=server.url, resume=True, quiet=False)
    assert "trials that were under way and go on: 1\n" in capsys.readouterr().err
    assert len(found.trials) == 3
    assert found.best is not None
    steps = [tuple(map(int, line.split()[1:3])) for line in log.read_text().splitlines()]
    assert steps[:3] == [(0, 10), (10, 20), (20, 40)]
    assert steps[3] == (40, 80)  # what was under way goes on from its checkpoint
