"""Public data sets: listing, checking and downloading their files."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.files import cache_folder, read_bytes
from gammasky.engine.sky.demo import DEMOS
from gammasky.engine.sky.demo.cache import file_statuses, made_folder
from gammasky.engine.sky.locate import find_folder, holds, search_places
from gammasky.engine.sky.manifest import DataFile, Manifest, read_manifest, shipped_manifests

TIMEOUT_S = 30


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset that is known by name; `folder` is where its files were found, None if nowhere."""

    name: str
    description: str
    folder: Path | None


def list_datasets() -> list[DatasetEntry]:
    """The datasets known by name, and where their files are."""
    entries = []
    for path in shipped_manifests().values():
        manifest = read_manifest(path)
        found = next((place for place in search_places(manifest.name) if holds(place, manifest)), None)
        entries.append(DatasetEntry(manifest.name, manifest.description, found))
    return entries


def check(name: str = "fermi", data_dir: Path | str | None = None) -> list[tuple[str, str]]:
    """Each file of a dataset with its status: `ok`, `missing` or `wrong checksum`.

    Raises:
        InputError: unknown dataset, or its files are nowhere to be found.
    """
    manifest = _shipped(name)
    if name in DEMOS:
        return _check_demo(manifest, data_dir)
    folder = find_folder(manifest, data_dir)
    return [(file, _status(folder / file, entry)) for file, entry in manifest.files.items()]


def fetch(
    name: str = "fermi", folder: Path | str | None = None, base_url: str | None = None, progress: bool = True
) -> Path:
    """Download the files of a dataset, keeping those that are there and right; the demo is made on this machine.

    A file is downloaded under another name and takes its own only once its SHA-256 is right, so an interrupted or
    failed run leaves whole files only and the next one goes on from there.

    Args:
        name: dataset.
        folder: where to put the files; default: the per-user cache.
        base_url: a mirror with the dataset's own layout, in place of the public addresses of the manifest.
        progress: print one line per file on stderr.

    Returns:
        the folder, to open the dataset with.

    Raises:
        InputError: unknown dataset, or a download that failed from every address.
    """
    manifest = _shipped(name)
    if name in DEMOS:
        return _make_demo(name, folder, progress)
    target = cache_folder(name) if folder is None else Path(folder)
    for number, (file, entry) in enumerate(manifest.files.items(), start=1):
        urls = entry.urls if base_url is None else (f"{base_url.rstrip('/')}/{file}",)
        there = _status(target / file, entry) == "ok"
        if progress:
            print(f"[{number}/{len(manifest.files)}] {file}: {'present' if there else 'downloading'}", file=sys.stderr)
        if not there:
            _download(target / file, entry, urls)
    return target


def _shipped(name: str) -> Manifest:
    shipped = shipped_manifests()
    if name not in shipped:
        raise unknown_name("dataset", name, shipped)
    return read_manifest(shipped[name])


def _check_demo(manifest: Manifest, data_dir: Path | str | None) -> list[tuple[str, str]]:
    """The demo's files against the checksums written beside them; it is not made for a check."""
    for place in search_places(manifest.name) if data_dir is None else [Path(data_dir)]:
        if place.is_dir():
            return file_statuses(place, manifest.name)
    raise InputError(
        f"dataset '{manifest.name}': not in {data_dir or search_places(manifest.name)[0]}; "
        f"it is made when first used, or with `gammasky data fetch {manifest.name}`"
    )


def _make_demo(name: str, folder: Path | str | None, progress: bool) -> Path:
    if progress:
        print("making the demo sky on this machine: nothing to download", file=sys.stderr)
    return made_folder(None if folder is None else Path(folder), name)


def _status(path: Path, entry: DataFile) -> str:
    if not path.is_file():
        return "missing"
    return "ok" if hashlib.sha256(read_bytes(path)).hexdigest() == entry.sha256 else "wrong checksum"


def _download(path: Path, entry: DataFile, urls: tuple[str, ...]) -> None:
    """Try each address in turn; the first right file is kept."""
    if not urls:
        raise InputError(f"{path.name}: the manifest gives no address to download it from; put the file at {path}")
    failures = []
    for url in urls:
        failure = _try_download(path, entry, url)
        if failure is None:
            return
        failures.append(failure)
    raise InputError(
        f"{path.name}: download failed: {'; '.join(failures)}; "
        f"try again later (finished files are kept), or put the file at {path}"
    )


def _try_download(path: Path, entry: DataFile, url: str) -> str | None:
    """Download one file from one address; the reason if that failed."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(timeout=TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _quiet(pooch.get_logger):
            pooch.retrieve(url, f"sha256:{entry.sha256}", fname=path.name, path=path.parent, downloader=downloader)
    except requests.exceptions.HTTPError as error:
        status = "unknown" if error.response is None else error.response.status_code
        return f"{url}: HTTP status {status}"
    except requests.exceptions.RequestException as error:
        return f"{url}: {type(error).__name__}, connection failed or broke off"
    except ValueError:
        return f"{url}: wrong SHA-256, expected {entry.sha256}"
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from error
    return None


@contextmanager
def _quiet(get_logger: Callable[[], logging.Logger]) -> Iterator[None]:
    """Keep a logger from speaking: progress is ours to report."""
    logger = get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
