"""A data folder made by a recipe: whole, or not there."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.sky.manifest import MANIFEST_NAME
from gammasky.engine.sky.products.psf_table import PSFTable
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.recipes.counted import Counted, Progress, counted
from gammasky.engine.sky.recipes.exposed import exposed
from gammasky.engine.sky.recipes.files import write_counts, write_exposure, write_psf
from gammasky.engine.sky.recipes.recipe import Recipe
from gammasky.engine.sky.recipes.report import write_report
from gammasky.engine.sky.recipes.spread import spread
from gammasky.engine.sky.schema import Schema


def build(
    recipe: Recipe,
    out: Path | str,
    *,
    base: Path | str = ".",
    check: Callable[[Path], object] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a data folder: counts, exposure and PSF with their manifest `dataset.toml`, and a report.

    All is written beside `out` first, and takes its name in one step.

    Args:
        recipe: what to make.
        out: the folder, which must not be there.
        base: folder that the names of files in the recipe are relative to.
        check: called with the folder before it takes its name; an error of its leaves nothing behind.
        progress: called with what is done, the part that is done, and the whole.

    Returns:
        `out`.

    Raises:
        InputError: `out` is there or cannot be written, or the recipe cannot be followed; nothing is left behind.
    """
    out, base = Path(out), Path(base)
    if out.exists() or out.is_symlink():
        raise InputError(
            f"`out` {out}: is already there, and nothing is overwritten; choose another name, or remove it"
        )
    if not out.parent.is_dir():
        raise InputError(f"`out` {out}: the folder {out.parent} is not there; make it first")
    copies = _copies(recipe, base)
    counts = counted(recipe, base, progress)
    exposure = exposed(recipe, counts, base, progress)
    table, psf_files, notes = spread(recipe, counts, exposure, base)
    temporary = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"`out` {out}: cannot be written to ({error.strerror}); choose another folder") from None
    try:
        write_counts(temporary / "counts.fits", counts.pixels, counts.counts, counts.energy_edges_gev)
        write_exposure(temporary / "exposure.fits", counts.pixels, exposure.exposure, counts.energy_edges_gev)
        if table is not None:
            write_psf(temporary / "psf.fits", table)
        for name, source in copies.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, temporary / name)
        if recipe.isotropic is not None:
            np.save(temporary / ISOTROPIC, np.ones(12))
        _write_manifest(temporary, recipe, counts, table)
        files = [*counts.files, *exposure.files, *psf_files, *copies.values()]
        write_report(temporary, recipe, counts, exposure, _psfs(recipe, counts, table), files, notes)
        if check is not None:
            check(temporary)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return out


KINDS = ("templates", "masks", "sources")
ISOTROPIC = "isotropic.npy"


def _copies(recipe: Recipe, base: Path) -> dict[str, Path]:
    """Files of templates, masks and catalogues: name in the folder -> where they are now.

    Raises:
        InputError: one that is not there.
    """
    found: dict[str, Path] = {}
    for kind in KINDS:
        for entry in getattr(recipe, kind).values():
            if not hasattr(entry, "file"):
                continue  # a template of a catalogue
            source = base / entry.file
            if not source.is_file():
                read_bytes(source)  # says what is wrong
            name = f"{kind}/{source.name}"
            if name in found and found[name] != source:
                raise InputError(f"{source}: two files of {kind} are named {source.name}; rename one of them")
            found[name] = source
    return found


def _write_manifest(folder: Path, recipe: Recipe, counts: Counted, table: PSFTable | None) -> None:
    import tomli_w

    manifest: dict[str, Any] = {"name": recipe.name}
    manifest |= {name: value for name in ("description", "citation") if (value := getattr(recipe, name))}
    manifest["energy_edges_gev"] = counts.energy_edges_gev.tolist()
    manifest |= {"counts": {"file": "counts.fits"}, "exposure": {"file": "exposure.fits"}}
    if table is None:
        manifest["psf"] = _dump(recipe.psf) | {"kind": recipe.psf.kind}
    else:
        manifest["psf"] = {"kind": "file", "file": "psf.fits", "spectral_index": recipe.spectral_index}
    for kind in KINDS:
        entries: Mapping[str, Any] = getattr(recipe, kind)
        if entries:
            manifest[kind] = {
                name: _dump(entry) | ({"file": f"{kind}/{Path(entry.file).name}"} if hasattr(entry, "file") else {})
                for name, entry in entries.items()
            }
    if recipe.isotropic is not None:
        uniform = {"file": ISOTROPIC, "unit": "intensity", "description": "the same intensity everywhere"}
        manifest["templates"] = {recipe.isotropic: uniform} | manifest.get("templates", {})
    if recipe.thresholds_cm2_s:
        manifest["thresholds_cm2_s"] = {name: list(pair) for name, pair in recipe.thresholds_cm2_s.items()}
    if recipe.works:
        manifest["works"] = [_dump(work) for work in recipe.works]
    (folder / MANIFEST_NAME).write_text(tomli_w.dumps(manifest), encoding="utf-8")


def _dump(settings: Schema) -> dict[str, Any]:
    """What was set of a table, as TOML has it."""
    return settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _psfs(recipe: Recipe, counts: Counted, table: PSFTable | None) -> tuple[PSF, ...]:
    """The PSF of each energy bin, as the folder will have it."""
    if table is not None:
        return table.in_bins(counts.energy_edges_gev, recipe.spectral_index)
    psf: Any = recipe.psf
    return (psf,) * (len(counts.energy_edges_gev) - 1)
