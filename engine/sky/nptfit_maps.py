"""Folders of `.npy` maps as NPTFit's examples have them, made into a dataset."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes, write_text
from gammasky.engine.sky.manifest import MANIFEST_NAME
from gammasky.engine.sky.maps import nside_of, whole_counts
from gammasky.engine.sky.readers import load_npy


def import_nptfit(
    folder: Path, out: Path, energy_edges_gev: tuple[float, float], sigma_deg: float, name: str | None = None
) -> Path:
    """Make a dataset of maps whose names say what they are: `*counts*`, `*exposure*`, `*mask*`, `template_*`.

    As NPTFit has them, maps are Galactic and RING, exposures in cm^2 s, masked pixels True, and templates in counts,
    with the exposure in them.

    Args:
        folder: the maps.
        out: folder to make, which must not be there.
        energy_edges_gev (low, high) [GeV]: of the counts, which the maps do not say.
        sigma_deg [deg]: width of a Gaussian point-spread function, which they do not say either; 0: none.
        name: of the dataset; by default that of the folder `out`.

    Returns:
        the manifest.

    Raises:
        InputError: no counts or exposure or several, maps of different sizes, or `out` is there.
    """
    if out.exists():
        raise InputError(f"`out` {out}: it is there; choose a folder that is not")
    files = sorted(path for path in folder.glob("*.npy"))
    if not files:
        raise InputError(f"{folder}: no .npy files in it")
    counts, exposure = _one(files, "counts", folder), _one(files, "exposure", folder)
    masks = [path for path in files if "mask" in path.name]
    templates = [path for path in files if path.name.startswith("template_")]
    used = [counts, exposure, *masks, *templates]
    sizes = {path: load_npy(read_bytes(path), str(path)).shape[-1] for path in used}
    nside = nside_of(sizes[counts], str(counts))
    for path, size in sizes.items():
        if size != sizes[counts]:
            raise InputError(
                f"{path}: {size} pixels, but {counts.name} has {sizes[counts]}; expected maps of one nside"
            )
    whole_counts(load_npy(read_bytes(counts), str(counts)), str(counts))
    manifest = {
        "name": name or out.name,
        "description": f"maps of {folder.name}, as NPTFit has them",
        "frame": "galactic",
        "nside": nside,
        "energy_edges_gev": list(energy_edges_gev),
        "counts": {"file": counts.name},
        "exposure": {"file": exposure.name, "unit": "cm2 s"},
        "psf": {"kind": "gaussian", "sigma_deg": sigma_deg} if sigma_deg > 0 else {"kind": "delta"},
        "masks": {_short(path, "mask"): {"file": path.name, "masked_where": True} for path in masks},
        "templates": {_short(path, "template"): {"file": path.name, "unit": "counts"} for path in templates},
    }
    return _written(out, used, manifest)


def _written(out: Path, files: list[Path], manifest: dict[str, Any]) -> Path:
    """Copy the files and write the manifest, all or nothing."""
    import tomli_w

    from gammasky.engine.sky.dataset import Dataset

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        place = Path(temporary) / out.name
        place.mkdir()
        for path in files:
            shutil.copyfile(path, place / path.name)
        write_text(place / MANIFEST_NAME, tomli_w.dumps(manifest))
        Dataset.open(place)
        place.rename(out)
    return out / MANIFEST_NAME


def _one(files: list[Path], word: str, folder: Path) -> Path:
    found = [path for path in files if word in path.name and not path.name.startswith("template_")]
    if len(found) != 1:
        have = ", ".join(path.name for path in found or files)
        raise InputError(f"{folder}: expected one file '*{word}*.npy', got {len(found)} ({have})")
    return found[0]


def _short(path: Path, word: str) -> str:
    """The name of a map without the words that all of its kind have."""
    short = path.stem.removeprefix(f"{word}_")
    return short or path.stem
