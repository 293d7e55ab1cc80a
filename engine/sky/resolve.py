"""From the name or the path of a dataset to its manifest and the folder of its files."""

from __future__ import annotations

import os
from pathlib import Path

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.sky.locate import find_folder, holds
from gammasky.engine.sky.manifest import (
    MANIFEST_NAME,
    Manifest,
    OtherCounts,
    read_any_manifest,
    read_manifest,
    shipped_manifests,
)


def resolve(
    name_or_path: str | Path, data_dir: Path | str | None, above: frozenset[Path] = frozenset()
) -> tuple[Manifest, Path]:
    """The manifest and the folder of the files; `above` are the manifests that led here."""
    shipped = shipped_manifests()
    path = Path(name_or_path)
    is_folder = os.path.isdir(path)  # unlike Path.is_dir, False for what may not be looked into
    if str(name_or_path) in shipped:
        manifest = read_manifest(shipped[str(name_or_path)])
        return manifest, find_folder(manifest, data_dir)
    if is_folder and not os.path.isfile(path / MANIFEST_NAME):
        for file in shipped.values():  # a folder with the files of a shipped dataset needs no manifest of its own
            if holds(path, manifest := read_manifest(file)):
                return manifest, path
    if is_folder:
        path = path / MANIFEST_NAME
    if not os.path.isfile(path):
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"{path}: no dataset there; expected a folder with {MANIFEST_NAME}, or such a file")
        raise unknown_name("dataset", str(name_or_path), shipped)
    found = read_any_manifest(path)
    if isinstance(found, OtherCounts):
        if path.resolve() in above:
            raise InputError(f"{path}: `base` leads back to this manifest itself; name a dataset with its own maps")
        return _with_other_counts(found, path.absolute(), data_dir, above)
    return found, Path(data_dir) if data_dir is not None else path.parent


def _with_other_counts(
    own: OtherCounts, path: Path, data_dir: Path | str | None, above: frozenset[Path]
) -> tuple[Manifest, Path]:
    """The manifest of the base with the counts of `own`, which was read from `path` and names files beside it."""
    place = path.parent
    base = own.base if own.base in shipped_manifests() else str(place / own.base)
    manifest, folder = resolve(base, data_dir, above | {path.resolve()})
    counts = own.counts.model_copy(update={"file": str(place / own.counts.file)})
    changed = {"name": own.name, "description": own.description, "counts": counts, "truth": own.truth}
    return manifest.model_copy(update=changed), folder
