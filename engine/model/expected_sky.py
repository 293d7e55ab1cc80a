"""What a model expects of the sky at one parameter point."""

from __future__ import annotations

from typing import NamedTuple

import jax


class Sky(NamedTuple):
    """What a model expects at one parameter point, by component.

    Attributes:
        norms: mean counts per pixel over the region of interest of each component's template of mean 1, a scalar.
        templates: of each component, in the N pixels (N,).
        dnds: source-count function of each population (S,) [sources per pixel per count].
    """

    norms: dict[str, jax.Array]
    templates: dict[str, jax.Array]
    dnds: dict[str, jax.Array]
