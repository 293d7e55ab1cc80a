"""The modulation of a template by spherical harmonics."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gammasky.engine.model.values import Use
from gammasky.engine.sky.schema import Schema


class Modulation(Schema):
    """Multiply a template by 1 + sum_{l=1..l_max} sum_{m=0..l} A_lm Re Y_lm(l, b); normalised anew afterwards."""

    l_max: Annotated[int, Field(ge=1, le=16)]
    coefficients: str

    def orders(self) -> list[tuple[int, int]]:
        """(l, m) of the coefficients: l = 1 .. l_max, m = 0 .. l."""
        return [(degree, order) for degree in range(1, self.l_max + 1) for order in range(degree + 1)]

    def harmonics(self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate Re Y_lm (orders, N) of each order at N positions [deg]."""
        from scipy.special import sph_harm_y

        polar, azimuth = np.deg2rad(90.0 - lat_deg), np.deg2rad(lon_deg)
        return np.stack([sph_harm_y(degree, order, polar, azimuth).real for degree, order in self.orders()])

    def use(self, where: str) -> Use:
        """The place where the parameter with its coefficients stands."""
        elements = tuple(f"{degree},{order}" for degree, order in self.orders())
        return Use(self.coefficients, f"{where}, modulation", elements)
