"""A spectrum that is known at some energies: a dark-matter yield, or an isotropic spectrum in a text file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.products.isotropic import IsotropicSpectrum
from gammasky.engine.sky.schema import Schema
from gammasky.engine.sky.spectra import integral_in_bins, require_cover


class TableSettings(Schema):
    """dN/dE at some energies; a power law in between.

    In a model file `file` may stand in their place: a text file with an energy and dN/dE in each row (a third column is
    not read), with energies in `energy_unit` ("MeV" or "GeV"; MeV where it is not given). Its numbers become part of
    the model.

    Args:
        energies_gev [GeV]: rising energies, from below the first bin to above the last.
        values: dN/dE there, up to a factor.
    """

    energies_gev: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2)]
    values: list[Annotated[float, Field(ge=0)]]

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "file" not in given:
            return given
        return _FromFile.model_validate(given).numbers()

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.values) != len(self.energies_gev):
            raise ValueError(f"{len(self.energies_gev)} energies need as many values, got {len(self.values)}")
        if any(high <= low for low, high in pairwise(self.energies_gev)):
            raise ValueError(f"energies_gev must rise, got {self.energies_gev}")
        return self


class _FromFile(Schema):
    """A table in a text file."""

    file: str
    energy_unit: Literal["MeV", "GeV"] = "MeV"

    def numbers(self) -> dict[str, list[float]]:
        """The energies and values in it."""
        found = IsotropicSpectrum.read(read_bytes(Path(self.file)), self.file)
        scale = 1.0 if self.energy_unit == "MeV" else 1e3
        return {"energies_gev": (scale * found.energies_gev).tolist(), "values": found.intensity.tolist()}


@SPECTRA.add
class TableSpectrum(Spectrum):
    """A spectrum in a table, integrated in closed form.

    Args:
        table: its energies and values.
    """

    kind: ClassVar[str] = "table"

    table: TableSettings

    def uses(self, where: str) -> Iterator[Use]:
        del where
        return iter(())

    def require_bins(self, where: str, edges_gev: Edges) -> None:
        require_cover(self.table.energies_gev, edges_gev, f"{where}, table")
        if not self._photons(edges_gev).any():
            raise InputError(f"{where}, table: its values are zero in all energy bins; correct them")

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        del theta
        photons = self._photons(edges_gev)
        return jnp.asarray(photons / photons.sum())

    def _photons(self, edges_gev: Edges) -> np.ndarray:
        return integral_in_bins(np.array(self.table.energies_gev), np.array(self.table.values), edges_gev)
