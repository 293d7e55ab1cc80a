"""A free spectrum: the share of the photons in each energy bin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.model.spectra.base import SPECTRA, Edges, Spectrum
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.schema import Schema


class FreeSettings(Schema):
    """A spectrum without a form.

    Args:
        shares: of the photon flux in the bins: a Dirichlet parameter, or numbers, of which only the ratios count; in
            two bins it may be a single parameter, the share of the first.
    """

    shares: str | Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _not_dark(self) -> Self:
        if isinstance(self.shares, list) and not sum(self.shares) > 0:
            raise ValueError("shares are zero in all energy bins")
        return self


@SPECTRA.add
class FreeSpectrum(Spectrum):
    """The free spectrum.

    Args:
        free: its shares.
    """

    kind: ClassVar[str] = "free"

    free: FreeSettings

    def uses(self, where: str) -> Iterator[Use]:
        if isinstance(self.free.shares, str):
            yield Use(self.free.shares, f"{where}, free", shares=True, per_bin=True)

    def require_bins(self, where: str, edges_gev: Edges) -> None:
        n_bins, given = len(edges_gev) - 1, self.free.shares
        if isinstance(given, list) and len(given) != n_bins:
            raise InputError(f"{where}, free: expected {n_bins} shares, one for each energy bin, got {len(given)}")

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        del edges_gev
        given = self.free.shares
        shares = theta[given] if isinstance(given, str) else jnp.asarray(given) / sum(given)
        return shares if shares.ndim else jnp.stack([shares, 1.0 - shares])
