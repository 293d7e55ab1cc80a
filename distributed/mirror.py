"""A campaign on object storage: a copy that grows with it, and from which it goes on elsewhere.

Object storage has neither locks nor renames, so a campaign runs in a folder, and a mirror holds what that folder has
finished. An object is there whole or not at all; results never change, so those of the same size are not sent again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gammasky.distributed.folder import Places, read_manifest
from gammasky.distributed.hold import driver_alive
from gammasky.distributed.table import require_arrow
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing

_FINISHED = re.compile(r"members/[0-9a-f]{32}\.npz|failed/[0-9a-f]{32}\.json")


def push(folder: Path, url: str) -> int:
    """Copy what a campaign has finished to `url`; also while it runs, and again and again.

    Args:
        folder: the campaign's.
        url: s3://BUCKET/PATH, gs://BUCKET/PATH, file:///PATH: what `pyarrow.fs.FileSystem.from_uri` knows.

    Returns:
        the number of results (finished members) that were copied now.

    Raises:
        InputError: no campaign there, a URL that cannot be used, or one that holds another campaign.
    """
    read_manifest(folder)
    with _storage(url) as (system, root):
        there = _listed(system, root)
        _check_same(folder, system, root, there, url)
        here = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
        # what may have changed: all but the results
        wanted = [name for name, path in here.items() if _FINISHED.fullmatch(name) is None or name not in there
                  or there[name] != path.stat().st_size]  # fmt: skip
        for name in wanted:
            if not _is_object_store(system):
                system.create_dir(f"{root}/{name}".rpartition("/")[0])
            with here[name].open("rb") as source, system.open_output_stream(f"{root}/{name}") as target:
                shutil.copyfileobj(source, target)
    return sum(name.startswith("members/") for name in wanted)


def pull(url: str, folder: Path) -> int:
    """Copy a mirrored campaign into a folder, where `resume` goes on with it; results that are there are left alone.

    Returns:
        the number of results that were copied now.

    Raises:
        InputError: no campaign there, a folder that holds something else, or that a driver is at work in.
    """
    places = Places(folder)
    with _storage(url) as (system, root):
        there = _listed(system, root)
        if places.manifest.name not in there:
            raise InputError(f"{url}: no campaign there; `gammasky campaign push DIR {url}` puts one there")
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: expected a folder, got a file")
        if folder.exists() and any(folder.iterdir()):
            read_manifest(folder)
            _check_same(folder, system, root, there, url)
            if driver_alive(places):
                raise InputError(f"{folder}: a driver is at work there; wait for it, or stop it first")
        wanted = [name for name in there if _FINISHED.fullmatch(name) and not (folder / name).exists()]
        for name in [places.manifest.name, *wanted]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (
                replacing(folder / name) as temporary,
                system.open_input_stream(f"{root}/{name}") as source,
                temporary.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
    return sum(name.startswith("members/") for name in wanted)


@contextmanager
def _storage(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL, and the path there; what it refuses becomes one line."""
    arrow, _ = require_arrow()
    from pyarrow import fs

    if not url.partition("://")[2].strip("/"):
        raise InputError(f"URL: expected one such as s3://BUCKET/PATH or file:///PATH, got '{url}'")
    try:
        system, root = fs.FileSystem.from_uri(url)
        yield system, root.rstrip("/")
    except arrow.ArrowInvalid as error:
        raise InputError(f"URL: cannot use '{url}': {error}") from error
    except OSError as error:
        if error.errno is not None:  # a folder's own trouble
            raise
        raise InputError(f"{url}: {str(error).strip().partition(chr(10))[0]}") from error


def _listed(system: Any, root: str) -> dict[str, int]:
    """Size of every file below the root, by its name there."""
    from pyarrow import fs

    found = system.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True))
    return {info.path[len(root) + 1 :]: info.size for info in found if info.is_file}


def _files(folder: Path) -> Iterator[Path]:
    """What is worth keeping of a campaign's folder: no locks, no progress, no checkpoints, nothing half written."""
    places = Places(folder)
    own = {place.name for place in (places.lock, places.driver, places.live, places.scratch, places.damaged)}
    for path in sorted(folder.rglob("[!.]*")):
        if path.is_file() and path.relative_to(folder).parts[0] not in own:
            yield path


def _check_same(folder: Path, system: Any, root: str, there: dict[str, int], url: str) -> None:
    name = Places(folder).manifest.name
    if name not in there:
        if there:
            raise InputError(f"{url}: holds something else ('{min(there)}'); choose a place of its own")
        return
    with system.open_input_stream(f"{root}/{name}") as stream:
        if stream.read() != (folder / name).read_bytes():
            raise InputError(f"{url}: holds another campaign than {folder}; choose another place")


def _is_object_store(system: Any) -> bool:
    return system.type_name in ("s3", "gcs", "abfs")
