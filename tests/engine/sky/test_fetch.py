"""The downloader against a local server: good, damaged, truncated and missing files, and files already there."""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.sky import check, fetch, list_datasets
from gammasky.engine.sky.demo import DEMOS
from gammasky.engine.sky.manifest import read_manifest, shipped_manifests

CONTENT = {"maps/counts.npy": b"counts " * 50_000, "psf/p.fits": b"psf " * 1000}
MANIFEST = """
name = "tiny"
description = "two files"
nside = 8
energy_edges_gev = [1.0, 2.0]
counts = {{ file = "maps/counts.npy" }}
exposure = {{ file = "maps/counts.npy" }}
psf = {{ kind = "delta" }}
{files}
"""


class Server:
    """What is served, and what was asked for."""

    def __init__(self) -> None:
        self.files = dict(CONTENT)
        self.declared: dict[str, int] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                server.requests.append(name)
                if name not in server.files:
                    self.send_error(404)
                    return
                body = server.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(server.declared.get(name, len(body))))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()
    thread.join()


@pytest.fixture
def tiny(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset `tiny` known by name, whose public home is a dead address and then the local server."""
    lines = [
        f'[files."{name}"]\nsha256 = "{hashlib.sha256(body).hexdigest()}"\n'
        f'urls = ["{server.url}/gone", "{server.url}/{name}"]'
        for name, body in CONTENT.items()
    ]
    path = tmp_path / "tiny.toml"
    path.write_text(MANIFEST.format(files="\n".join(lines)))
    module = importlib.import_module("gammasky.engine.sky.fetch")  # by name: the package has the function of that name
    monkeypatch.setattr(module, "shipped_manifests", lambda: {"tiny": path})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAMMASKY_DATA", raising=False)
    return tmp_path / "data"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_good_download(server: Server, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("tiny", tiny, server.url) == tiny
    assert files_in(tiny) == CONTENT
    assert "[2/2] psf/p.fits: downloading" in capsys.readouterr().err
    assert check("tiny", tiny) == [("maps/counts.npy", "ok"), ("psf/p.fits", "ok")]


@pytest.mark.usefixtures("tiny")
def test_addresses_of_the_manifest_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    folder = fetch("tiny", progress=False)
    assert folder.is_relative_to(tmp_path / "cache")
    assert files_in(folder) == CONTENT
    assert server.requests.count("gone") == 2
    assert list_datasets()[0].folder == folder


def test_right_files_are_not_downloaded_again(server: Server, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch("tiny", tiny, server.url, progress=False)
    server.requests.clear()
    (tiny / "psf" / "p.fits").write_bytes(b"old")
    assert check("tiny", tiny) == [("maps/counts.npy", "ok"), ("psf/p.fits", "wrong checksum")]
    fetch("tiny", tiny, server.url)
    assert server.requests == ["psf/p.fits"]
    assert files_in(tiny) == CONTENT
    assert "[1/2] maps/counts.npy: present" in capsys.readouterr().err


def test_damaged_file_is_refused(server: Server, tiny: Path) -> None:
    server.files["psf/p.fits"] = b"PSF " * 1000
    with pytest.raises(
        InputError, match=r"p\.fits: download failed: http://127.*/psf/p\.fits: wrong SHA-256.*try again"
    ):
        fetch("tiny", tiny, server.url, progress=False)
    assert files_in(tiny) == {"maps/counts.npy": CONTENT["maps/counts.npy"]}
    server.files["psf/p.fits"] = CONTENT["psf/p.fits"]
    server.requests.clear()
    fetch("tiny", tiny, server.url, progress=False)
    assert server.requests == ["psf/p.fits"]
    assert files_in(tiny) == CONTENT


def test_truncated_file_is_refused(server: Server, tiny: Path) -> None:
    name = "maps/counts.npy"
    server.files[name], server.declared[name] = CONTENT[name][:1000], len(CONTENT[name])
    with pytest.raises(InputError, match=r"counts\.npy: download failed: .*broke off") as caught:
        fetch("tiny", tiny, server.url, progress=False)
    assert "\n" not in str(caught.value)
    assert files_in(tiny) == {}


def test_absent_file_and_absent_server(server: Server, tiny: Path) -> None:
    del server.files["maps/counts.npy"]
    with pytest.raises(InputError, match=r"counts\.npy: HTTP status 404"):
        fetch("tiny", tiny, server.url, progress=False)
    with pytest.raises(InputError, match=r"counts\.npy: download failed: .*ConnectionError"):
        fetch("tiny", tiny, "http://127.0.0.1:9", progress=False)
    assert files_in(tiny) == {}


def test_folder_that_cannot_be_written(server: Server, tiny: Path) -> None:
    tiny.write_text("a file in the way")
    with pytest.raises(InputError, match=r"cannot be written .*choose another folder"):
        fetch("tiny", tiny, server.url, progress=False)


def test_unknown_dataset_and_missing_files(server: Server, tiny: Path) -> None:
    assert server.requests == []
    for call in (fetch, check):
        with pytest.raises(InputError, match="unknown dataset 'tyny'; did you mean 'tiny'"):
            call("tyny")
    with pytest.raises(InputError, match="run `gammasky data fetch tiny`"):
        check("tiny", tiny)
    fetch("tiny", tiny, server.url, progress=False)
    (tiny / "psf" / "p.fits").unlink()
    assert check("tiny", tiny)[1] == ("psf/p.fits", "missing")


def test_fermi_is_whole(fermi_dir: Path) -> None:
    assert {status for _, status in check("fermi", fermi_dir)} == {"ok"}


def test_shipped_manifests_list_every_file_they_use() -> None:
    for name, path in shipped_manifests().items():
        manifest = read_manifest(path)
        assert manifest.name == name
        used = {manifest.counts.file, manifest.exposure.file}
        used |= {entry.file for entry in [*manifest.templates.values(), *manifest.masks.values()]}
        if name in DEMOS:  # made, not downloaded
            assert not manifest.files
            continue
        assert used <= set(manifest.files)
        assert all(url.startswith("https://") for entry in manifest.files.values() for url in entry.urls)
        assert all(entry.urls for entry in manifest.files.values())
