"""The datasets of an ensemble: where they are, and what identifies all that a model needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammasky.analyses.ensemble.tables import map_names
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.manifest import shipped_manifests
from gammasky.engine.sky.schema import Schema


@dataclass(frozen=True)
class Place:
    """Where a dataset is found.

    Attributes:
        data: a shipped name, or an absolute path.
        folder: of the files of a shipped dataset, where the driver found it; a machine without that folder looks in
            its own usual places.
        given: the user named that folder, so it is there or it is an error.
    """

    data: str
    folder: str | None = None
    given: bool = False

    def open(self) -> Dataset:
        """The dataset.

        Raises:
            InputError: not found, or a file that cannot be used.
        """
        there = self.folder is not None and (self.given or Path(self.folder).is_dir())
        return Dataset.open(self.data, self.folder if there else None)


def place_of(data: str, data_dir: str | None) -> tuple[Place, Dataset]:
    """Where a dataset is, for other processes too, and the dataset.

    Raises:
        InputError: not found, or a file that cannot be used.
    """
    dataset = Dataset.open(data, data_dir)
    if data not in shipped_manifests():
        return Place(str(Path(data).absolute()), data_dir and str(Path(data_dir).absolute()), True), dataset
    return Place(data, str(dataset.folder.absolute()), data_dir is not None), dataset


def data_identity(dataset: Dataset, spec: ModelSpec) -> dict[str, Any]:
    """All that a fit of a model depends on in a dataset: the contents of its files, and how its manifest reads them.

    Raises:
        InputError: a map, mask or catalogue that is not there, or cannot be used.
    """
    manifest, region = dataset.manifest, spec.region
    maps = [name for component in spec.components for name in map_names(component.model_dump()["template"])]
    used: dict[str, Schema] = {"counts": manifest.counts, "exposure": manifest.exposure}
    for name in maps:  # asking for what it holds reads a file
        dataset.template(name)
        used[f"templates.{name}"] = manifest.templates[name]
    for name in region.mask_names:
        dataset.mask(name)
        used[f"masks.{name}"] = manifest.masks[name]
    for name in region.catalogue_names:
        dataset.source_positions(name)
        used[f"sources.{name}"] = manifest.sources[name]
    if dataset.psf:
        used["psf"] = manifest.psf
    settings: dict[str, Any] = {
        place: entry.model_dump(mode="json", exclude={"file", "description"}) for place, entry in used.items()
    }
    if not manifest.counts.expected:  # as before there were any others: what was begun then goes on
        del settings["counts"]["expected"]
    settings |= {"pixels": dataset.pixels.key, "energy_edges_gev": dataset.energy_edges_gev.tolist()}
    checksums = dataset.checksums_of(maps, region.mask_names, region.catalogue_names)
    return {"name": dataset.name, "sha256": checksums, "manifest": settings}


def counts_checksum(dataset: Dataset) -> str:
    """SHA-256 of the counts."""
    file = dataset.manifest.counts.file
    return dataset.checksums[Path(file).name if Path(file).is_absolute() else file]
