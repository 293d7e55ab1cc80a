"""A spectrum that is known at some energies: a dark-matter yield, or an isotropic spectrum in a text file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.products.isotropic import IsotropicSpectrum
from gammasky.engine.sky.schema import Schema
from gammasky.engine.sky.spectra import integral_in_bins, require_cover


class TableSettings(Schema):
    """dN/dE at some energies; a power law in between.

    Args:
        energies_gev [GeV]: rising energies, from below the first bin to above the last.
        values: dN/dE there, up to a factor.
    """

    energies_gev: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2)]
    values: list[Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.values) != len(self.energies_gev):
            raise ValueError(f"{len(self.energies_gev)} energies need as many values, got {len(self.values)}")
        if any(high <= low for low, high in pairwise(self.energies_gev)):
            raise ValueError(f"energies_gev must rise, got {self.energies_gev}")
        return self


class TableFile(Schema):
    """The table in a text file, whose numbers become part of the model.

    Args:
        file: a text file beside the model file, with an energy and dN/dE in each row (a third column is not read).
        energy_unit: unit of the energies in it.
    """

    file: str
    energy_unit: Literal["MeV", "GeV"] = "MeV"

    def numbers(self) -> TableSettings:
        """The energies and values in it."""
        found = IsotropicSpectrum.read(read_bytes(Path(self.file)), self.file)
        scale = 1.0 if self.energy_unit == "MeV" else 1e3
        numbers = {"energies_gev": (scale * found.energies_gev).tolist(), "values": found.intensity.tolist()}
        return TableSettings.model_validate(numbers)


def _which(given: Any) -> str:
    return "file" if isinstance(given, dict) and "file" in given else "numbers"


def _read(given: TableSettings | TableFile) -> TableSettings:
    return given.numbers() if isinstance(given, TableFile) else given


@SPECTRA.add
class TableSpectrum(Spectrum):
    """A spectrum in a table, integrated in closed form.

    Args:
        table: its energies and values, or the file that they are in.
    """

    kind: ClassVar[str] = "table"

    table: Annotated[
        Annotated[TableSettings, Tag("numbers")] | Annotated[TableFile, Tag("file")],
        Discriminator(_which),
        AfterValidator(_read),
    ]

    def uses(self, where: str) -> Iterator[Use]:
        del where
        return iter(())

    def require_bins(self, where: str, edges_gev: Edges) -> None:
        require_cover(self._numbers.energies_gev, edges_gev, f"{where}, table")
        if not self._photons(edges_gev).any():
            raise InputError(f"{where}, table: its values are zero in all energy bins; correct them")

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        del theta
        photons = self._photons(edges_gev)
        return jnp.asarray(photons / photons.sum())

    def _photons(self, edges_gev: Edges) -> np.ndarray:
        return integral_in_bins(np.array(self._numbers.energies_gev), np.array(self._numbers.values), edges_gev)

    @property
    def _numbers(self) -> TableSettings:
        assert isinstance(self.table, TableSettings)  # a file has been read where the model was
        return self.table
