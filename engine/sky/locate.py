"""Where the files of a shipped dataset lie."""

from __future__ import annotations

import os
from pathlib import Path

from gammasky.engine.errors import InputError
from gammasky.engine.files import cache_folder
from gammasky.engine.sky.demo import DEMOS
from gammasky.engine.sky.demo.cache import demo_folder, is_whole, made_folder
from gammasky.engine.sky.manifest import Manifest

DATA_VARIABLE = "GAMMASKY_DATA"


def search_places(name: str) -> list[Path]:
    """Folders that are searched, in order: `$GAMMASKY_DATA`, the per-user cache, `../shared/<name>` upwards.

    The demos are in the per-user cache alone: they are made there.
    """
    if name in DEMOS:
        return [demo_folder(name)]
    variable = os.environ.get(DATA_VARIABLE, "")
    given = [Path(variable), Path(variable) / name] if variable else []
    return [*given, cache_folder(name), *(parent / "shared" / name for parent in Path.cwd().parents)]


def holds(folder: Path, manifest: Manifest) -> bool:
    """Whether the dataset's counts map is in `folder`."""
    return os.path.isfile(folder / manifest.counts.file)  # False, too, for a folder that may not be looked into


def find_folder(manifest: Manifest, data_dir: Path | str | None = None) -> Path:
    """The folder with the files of a dataset: `data_dir` and nowhere else if given, else the first search place.

    A demo is made where the cache has none.

    Raises:
        InputError: not found; says where it looked.
    """
    if manifest.name in DEMOS and data_dir is None:
        return made_folder(name=manifest.name)
    places = search_places(manifest.name) if data_dir is None else [Path(data_dir), Path(data_dir) / manifest.name]
    for place in places:
        if holds(place, manifest):
            if manifest.name in DEMOS and not is_whole(place, manifest.name):
                raise InputError(
                    f"dataset '{manifest.name}': its files in {place} are not the demo's; make them in a new folder"
                )
            return place
    looked = ", ".join(str(place) for place in places)
    raise InputError(
        f"dataset '{manifest.name}': {manifest.counts.file} not found in {looked}; "
        f"run `gammasky data fetch {manifest.name}`, or name its folder with `data_dir` or ${DATA_VARIABLE}"
    )
