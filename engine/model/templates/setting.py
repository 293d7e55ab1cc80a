"""What templates are built for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.engine.model.latent import Latent
from gammasky.engine.model.values import Arrays, Parameters, Use
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation


@dataclass
class Setting:
    """What templates are built for: the pixels, where maps come from, and what the component needs.

    Attributes:
        dataset: gives maps by name.
        pixels: the N pixels.
        backend: of the kernels.
        arrays: the fixed numbers of all templates built so far; templates add theirs.
        point_sources: the component needs sources per pixel (intensity) rather than counts.
        as_is: the component takes templates as they are.
        per_bin: the component itself says how bright it is in each of several energy bins; maps only give shapes.
        priors: of the parameters, by name.
        fields: those that the templates built so far have, each as built.
        geometries: lines of sight and the like, shared by all templates that need the same.
    """

    dataset: Dataset
    pixels: Observation
    backend: str
    arrays: Arrays = field(default_factory=dict)
    point_sources: bool = False
    as_is: bool = False
    per_bin: bool = False
    priors: Mapping[str, Any] = field(default_factory=dict)
    fields: dict[Any, Any] = field(default_factory=dict)
    geometries: dict[Hashable, Any] = field(default_factory=dict)

    def store(self, name: str, values: np.ndarray) -> str:
        """Put fixed numbers into the table of arrays; the key under which functions find them."""
        self.arrays[name] = values
        return name

    def geometry(self, kind: Any, **lengths: Any) -> Any:
        """`kind.build(lon_deg, lat_deg, **lengths)` for the pixels, made once for all templates that need the same."""
        key = (kind, *lengths.values())
        if key not in self.geometries:
            self.geometries[key] = kind.build(self.pixels.lon_deg, self.pixels.lat_deg, **lengths)
        return self.geometries[key]

    def middle(self, uses: Iterable[Use]) -> Parameters:
        """The parameters that stand in these places, by name, in the middle of their priors."""
        labels = {use.parameter: use.elements for use in uses}
        latent = Latent({name: self.priors[name] for name in labels}, labels)
        return latent.parameters(latent.arrays(), jnp.zeros(latent.n_latent))
