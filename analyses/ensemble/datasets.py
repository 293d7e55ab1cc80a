"""The datasets of an ensemble: opened once, with the files that a model needs named by their checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gammasky.analyses.ensemble.tables import map_names
from gammasky.engine.errors import InputError
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.manifest import shipped_manifests
from gammasky.engine.sky.psf import IRFSettings
from gammasky.engine.sky.roi import CatalogueDiscs


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


def only_used(dataset: Dataset, spec: ModelSpec) -> Dataset:
    """The dataset with the checksums of exactly the files that a model needs, all of which are read.

    Raises:
        InputError: a map, mask or catalogue that is not there, or cannot be used.
    """
    manifest, region = dataset.manifest, spec.region
    files = [manifest.counts.file, manifest.exposure.file]
    for component in spec.components:
        for name in map_names(component.model_dump()["template"]):
            dataset.template(name)
            files.append(manifest.templates[name].file)
    for name in (region.mask,) if isinstance(region.mask, str) else region.mask or ():
        if manifest.masks.get(name) is None or _key(manifest.masks[name].file) not in dataset.checksums:
            dataset.mask(name)
        files.append(manifest.masks[name].file)
    for name in _catalogues(spec):
        dataset.source_positions(name)
        files.append(manifest.sources[name].file)
    if isinstance(manifest.psf, IRFSettings) and dataset.psf:  # asked for, so that its file is read
        files.append(manifest.psf.file)
    return replace(dataset, checksums={_key(file): dataset.checksums[_key(file)] for file in sorted(set(files))})


def _catalogues(spec: ModelSpec) -> Iterator[str]:
    return (source.catalogue for source in spec.region.sources if isinstance(source, CatalogueDiscs))


def _key(file: str) -> str:
    """How `Dataset.checksums` names a file."""
    return Path(file).name if Path(file).is_absolute() else file


def counts_checksum(dataset: Dataset) -> str:
    """SHA-256 of the counts: what tells datasets of one ensemble apart."""
    return dataset.checksums[_key(dataset.manifest.counts.file)]


def check_unchanged(dataset: Dataset, expected: dict[str, str]) -> None:
    """Refuse data that are not those that a member was planned with.

    Raises:
        InputError: names the file.
    """
    for name in sorted(set(expected) | set(dataset.checksums)):
        if expected.get(name) != dataset.checksums.get(name):
            raise InputError(
                f"dataset '{dataset.name}': SHA-256 of {name} is not that of the plan; give the data that the "
                "campaign was planned with, or start another campaign"
            )
