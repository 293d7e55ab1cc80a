"""A map of the data set as a template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from gammasky.engine.errors import InputError
from gammasky.engine.model.templates.base import TEMPLATES, Template
from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Use


@TEMPLATES.add
class MapTemplate(Template):
    """A map of the data set, by name; in model files the bare name says the same.

    Args:
        map: name of the map among the templates of the data set.
    """

    kind: ClassVar[str] = "map"

    map: str

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> Any:
        """The bare name where there are no options, and no field that is not there."""
        if self.modulation is None and self.hemisphere is None and self.field is None:
            return self.map
        return {name: value for name, value in handler(self).items() if name != "field" or value is not None}

    def label(self) -> str:
        return self.map

    def shape_uses(self, where: str) -> Iterator[Use]:
        del where
        return iter(())

    def shape(self, setting: Setting) -> Function:
        pixels, unit = setting.pixels, setting.dataset.template_unit(self.map)
        values = setting.dataset.template_at(self.map, pixels.index)
        if setting.per_bin:
            values = self._shape_of_each_bin(values, setting)
        if not setting.as_is and setting.point_sources and unit == "counts":
            values = values / pixels.relative_exposure
        if not setting.as_is and not setting.point_sources and unit == "intensity":
            with_spectrum = setting.dataset.has_spectrum(self.map) and not setting.per_bin
            values = values * (pixels.exposure_over_mean if with_spectrum else pixels.relative_exposure)
        if pixels.relative_area is not None:
            values = values * pixels.relative_area
        mean = values[: pixels.n_region].mean()
        if not mean > 0:
            raise InputError(f"template '{self.map}' is zero everywhere in the region of interest; leave it out")
        key = f"map:{self.map}:{unit}:{setting.point_sources}:{setting.as_is}" + ":shapes" * setting.per_bin
        return Function.fixed(setting.store(key, values / mean))

    def _shape_of_each_bin(self, values: np.ndarray, setting: Setting) -> np.ndarray:
        """The map of each bin over its mean in the region."""
        pixels = setting.pixels
        inside, bins = values[: pixels.n_region], pixels.energy_bin[: pixels.n_region]
        means = np.array([inside[bins == e].mean() for e in range(pixels.n_energy)])
        if not (means > 0).all():
            low, high = pixels.energy_edges_gev[int(np.argmin(means > 0)) :][:2]
            raise InputError(
                f"template '{self.map}' is zero everywhere in the region of interest from {low:g} to {high:g} GeV; a "
                "spectrum needs its shape there: leave the bin or the template out"
            )
        return values / means[pixels.energy_bin]
