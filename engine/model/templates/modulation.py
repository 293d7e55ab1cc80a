"""The modulation of a template by spherical harmonics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.schema import Schema

MOST_MAPS = 100  # products of maps and harmonics that are kept


class Modulation(Schema):
    """Multiply a template by 1 + sum_{l=1..l_max} sum_{m=0..l} A_lm Re Y_lm(l, b); normalised anew afterwards.

    These are even in longitude: no difference between east and west. With the parity "both" A_{l,-m} Im Y_lm, odd in
    longitude, comes with every m > 0.

    Args:
        l_max: the highest degree l.
        coefficients: name of the parameter that holds all A_lm.
        parity: "cosine", or "both" for the sines, too.
    """

    l_max: Annotated[int, Field(ge=1, le=16)]
    coefficients: str
    parity: Literal["cosine", "both"] = "cosine"

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Without the parity that a modulation has by itself: models are written, and identified, as ever."""
        return {name: value for name, value in handler(self).items() if name != "parity" or value != "cosine"}

    def orders(self) -> list[tuple[int, int]]:
        """(l, m) of the coefficients: l = 1 .. l_max, m = 0 .. l, and of both parities then -1 .. -l, the sines."""
        found = []
        for degree in range(1, self.l_max + 1):
            sines = range(-1, -degree - 1, -1) if self.parity == "both" else ()
            found += [(degree, order) for order in (*range(degree + 1), *sines)]
        return found

    def harmonics(self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate Re Y_lm, of a negative order Im Y_l|m| (orders, N), of each order at N positions [deg]."""
        from scipy.special import sph_harm_y

        polar, azimuth = np.deg2rad(90.0 - lat_deg), np.deg2rad(lon_deg)
        found = [(order, sph_harm_y(degree, abs(order), polar, azimuth)) for degree, order in self.orders()]
        return np.stack([value.imag if order < 0 else value.real for order, value in found])

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
    sines = ":both" if modulation.parity == "both" else ""
    key, n_region, n_pixels = f"harmonics:{modulation.l_max}{sines}", pixels.n_region, pixels.n_pixels
    setting.store(key, harmonics)

    def moving(arrays: Arrays, theta: Parameters, size: int, times: jax.Array | float) -> jax.Array:
        values = function(arrays, theta, n_pixels) * (1.0 + theta[modulation.coefficients] @ arrays[key])
        return times * values[:size] / jnp.mean(values[:n_region])

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
    sines = ":both" if modulation.parity == "both" else ""
    of_means = setting.store(f"means of {'+'.join(function.maps)}*Y{modulation.l_max}{sines}", means)

    def shares(arrays: Arrays, theta: Parameters) -> jax.Array:
        amplitudes = jnp.concatenate([jnp.ones(1), theta[modulation.coefficients]])
        products = jnp.outer(amplitudes, function.shares(arrays, theta)).ravel()
        return products / (products @ arrays[of_means])

    return Function(maps, shares)
