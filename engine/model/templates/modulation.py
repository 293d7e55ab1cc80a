"""The modulation of a template by spherical harmonics."""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema

MOST_MAPS = 100  # products of maps and harmonics that are kept


class Modulation(Schema):
    """Multiply a template by 1 + sum_{l=1..l_max} sum_{m=0..l} A_lm Re Y_lm(l, b); normalised anew afterwards.

    Args:
        l_max: the highest degree l.
        coefficients: name of the parameter that holds all A_lm.
    """

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


def modulated(function: Function, modulation: Modulation, setting: Setting) -> Function:
    """`function` times the modulation, over the mean of that in the region."""
    pixels = setting.pixels
    harmonics = modulation.harmonics(pixels.lon_deg, pixels.lat_deg)
    if function.moving is None and len(function.maps) * (1 + len(harmonics)) <= MOST_MAPS:
        return _of_products(function, modulation, harmonics, setting)
    key, n_region, n_pixels = f"harmonics:{modulation.l_max}", pixels.n_region, pixels.n_pixels
    setting.store(key, harmonics)

    def moving(arrays: Arrays, theta: Parameters, size: int) -> jax.Array:
        values = function(arrays, theta, n_pixels) * (1.0 + theta[modulation.coefficients] @ arrays[key])
        return values[:size] / jnp.mean(values[:n_region])

    return Function(moving=moving)


def _of_products(
    function: Function, modulation: Modulation, harmonics: NDArray[np.float64], setting: Setting
) -> Function:
    """The modulation of fixed maps: their products with the harmonics are fixed maps too, and so are their means."""
    orders = zip(modulation.orders(), harmonics, strict=True)
    products = [
        setting.store(f"{key}*Y{degree},{order}", setting.arrays[key] * harmonic)
        for (degree, order), harmonic in orders
        for key in function.maps
    ]
    maps, n_region = (*function.maps, *products), setting.pixels.n_region
    means = np.array([setting.arrays[key][:n_region].mean() for key in maps])
    of_means = setting.store(f"means of {'+'.join(function.maps)}*Y{modulation.l_max}", means)

    def shares(arrays: Arrays, theta: Parameters) -> jax.Array:
        amplitudes = jnp.concatenate([jnp.ones(1), theta[modulation.coefficients]])
        products = jnp.outer(amplitudes, function.shares(arrays, theta)).ravel()
        return products / (products @ arrays[of_means])

    return Function(maps, shares)
