"""A campaign on object storage: a copy that grows with it, and from which it goes on elsewhere.

Object storage has neither locks nor renames, so a campaign runs in a folder, and a mirror holds what that folder has
finished. An object is there whole or not at all; results never change, so those of the same size are not sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gammasky.distributed.folder import Places
from gammasky.distributed.hold import driver_alive
from gammasky.distributed.manifest import Manifest, parsed, read_manifest
from gammasky.engine.errors import GammaskyError, InputError
from gammasky.engine.files import replacing

#: Kind of storage -> the package that knows it, besides fsspec itself.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "file": "fsspec"}
MANIFEST = Places(Path()).manifest.name
_FINISHED = re.compile(r"members/[0-9a-f]{32}\.npz|failed/[0-9a-f]{32}\.json")


def push(folder: Path, url: str) -> int:
    """Copy what a campaign has finished to `url`; also while it runs, and again and again.

    Args:
        folder: the campaign's.
        url: s3://BUCKET/PATH, gs://BUCKET/PATH, abfs://CONTAINER/PATH or file:///PATH.

    Returns:
        the number of results (finished members) that were copied now.

    Raises:
        InputError: no campaign there, a URL that cannot be used, or one that holds another campaign.
    """
    mine = read_manifest(folder)
    with _storage(url) as (system, root):
        there = _listed(system, root)
        if (theirs := _there(system, root, there, url)) is not None:
            _check_same(folder, mine, theirs, url)
            if not theirs.keys <= mine.keys:
                raise InputError(f"{url}: the campaign has more members there than in {folder}; pull it first")
        here = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
        # what may have changed: all but the results
        wanted = [name for name, path in here.items() if _FINISHED.fullmatch(name) is None or name not in there
                  or there[name] != path.stat().st_size]  # fmt: skip
        for name in wanted:
            system.put_file(str(here[name]), f"{root}/{name}")
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
        if MANIFEST not in there:
            raise InputError(f"{url}: no campaign there; `gammasky campaign push DIR {url}` puts one there")
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: expected a folder, got a file")
        theirs, grown = _there(system, root, there, url), False
        assert theirs
        if folder.exists() and any(folder.iterdir()):
            mine = read_manifest(folder)
            _check_same(folder, mine, theirs, url)
            grown = theirs.keys < mine.keys
            if driver_alive(places):
                raise InputError(f"{folder}: a driver is at work there; wait for it, or stop it first")
        wanted = [name for name in there if _FINISHED.fullmatch(name) and not (folder / name).exists()]
        for name in wanted if grown else [MANIFEST, *wanted]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name) as temporary:
                system.get_file(f"{root}/{name}", str(temporary))
    return sum(name.startswith("members/") for name in wanted)


@contextmanager
def _storage(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL, and the path there; what it refuses becomes one line."""
    import fsspec

    scheme, _, path = url.partition("://")
    if not path.strip("/"):
        raise InputError(f"URL: expected one such as s3://BUCKET/PATH or file:///PATH, got '{url}'")
    if scheme not in PACKAGES:
        raise InputError(f"URL: cannot use '{url}': expected {', '.join(f'{name}://' for name in PACKAGES)}")
    try:
        # folders of a file system are made where they are missing; listings of earlier calls are not believed
        options = {"auto_mkdir": True} if scheme == "file" else {"use_listings_cache": False}
        system, root = fsspec.url_to_fs(url, **options)
        yield system, root.rstrip("/")
    except ImportError as error:
        raise InputError(f"URL: {scheme}:// needs {PACKAGES[scheme]}: pip install {PACKAGES[scheme]}") from error
    except GammaskyError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        if scheme == "file" or (isinstance(error, OSError) and error.filename is not None):  # a folder's own trouble
            raise
        line = str(error).strip().partition("\n")[0]
        raise InputError(f"{url}: {type(error).__name__}: {line}") from error


def _listed(system: Any, root: str) -> dict[str, int]:
    """Size of every file below the root, by its name there."""
    found = system.find(root, detail=True)
    return {path[len(root) + 1 :]: info["size"] for path, info in found.items()}


def _files(folder: Path) -> Iterator[Path]:
    """What is worth keeping of a campaign's folder: no locks, no progress, no checkpoints, nothing half written."""
    places = Places(folder)
    own = {place.name for place in (places.lock, places.driver, places.running, places.scratch, places.damaged)}
    for path in sorted(folder.rglob("[!.]*")):
        if path.is_file() and path.relative_to(folder).parts[0] not in own:
            yield path


def _there(system: Any, root: str, there: dict[str, int], url: str) -> Manifest | None:
    """The manifest of the campaign there; None where nothing is there.

    Raises:
        InputError: something else is there.
    """
    name = MANIFEST
    if name not in there:
        if there:
            raise InputError(f"{url}: holds something else ('{min(there)}'); choose a place of its own")
        return None
    try:
        content = json.loads(system.cat_file(f"{root}/{name}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{url}: the manifest there: damaged ({error}); choose another place") from error
    return parsed(content if isinstance(content, dict) else {}, url)


def _check_same(folder: Path, here: Manifest, there: Manifest, url: str) -> None:
    """Refuse to mix two campaigns; one that has grown since is the same.

    Raises:
        InputError: another campaign; or one that has grown here and there, by other members.
    """
    if here.identity != there.identity:
        raise InputError(f"{url}: holds another campaign than {folder}; choose another place")
    if not (here.keys <= there.keys or there.keys <= here.keys):
        raise InputError(f"{url}: the campaign has grown there and in {folder}, by other members; choose another place")
