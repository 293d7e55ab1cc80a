"""Where norms lie in the latent space: what samplers need to know of a model to work in fluxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.model.latent import Latent
from gammasky.engine.model.priors import LogUniform, Slot, Uniform
from gammasky.engine.model.spec import ModelSpec, PerBin
from gammasky.engine.model.templates import MixTemplate

Axes = NDArray[np.int64]


@dataclass(frozen=True)
class Amplitude:
    """A population whose scale is its amplitude A, dN/dS at the highest break.

    Attributes:
        component: its name.
        parameter: the name of A.
        axis: of A.
        width: of the log-uniform prior of A, in ln A.
    """

    component: str
    parameter: str
    axis: int
    width: float


@dataclass(frozen=True)
class FluxAxes:
    """The axes of components whose norm has a uniform prior, or whose amplitude has a log-uniform one, and is in no
    other place of the model. A norm that is an expression has no axis of its own: its parameters stay as they are.

    Attributes:
        norms (n,): axes of norms.
        pairs (m, 2): axes of norm and share, of components that mix two templates in a uniform share of 0 to 1.
        amplitudes: the populations with an amplitude.
    """

    norms: Axes
    pairs: Axes
    amplitudes: tuple[Amplitude, ...]


def flux_axes(spec: ModelSpec, latent: Latent) -> FluxAxes:
    """Find the axes of a model."""
    used = [use.parameter for component in spec.components for use in component.uses()]

    def slot(name: Any, prior: type[Uniform | LogUniform]) -> Slot | None:
        """The place of a single number with such a prior that is used once; None for anything else."""
        found = latent.slots.get(name) if isinstance(name, str) else None
        return found if found and isinstance(found.prior, prior) and used.count(name) == 1 else None

    norms: list[int] = []
    pairs: list[tuple[int, int]] = []
    amplitudes: list[Amplitude] = []
    for component in spec.components:
        if isinstance(component.norm, PerBin):
            given = component.norm.per_bin
            for found in (slot(value, Uniform) for value in ([given] if isinstance(given, str) else given)):
                norms += [] if found is None else range(found.start, found.start + found.n_latent)
            continue
        norm, amplitude = slot(component.norm, Uniform), slot(component.amplitude, LogUniform)
        template = component.template
        share = slot(template.fractions, Uniform) if isinstance(template, MixTemplate) else None
        if amplitude is not None:
            low, high = amplitude.prior.support()
            width = float(np.log(high) - np.log(low))
            amplitudes.append(Amplitude(component.name, amplitude.name, amplitude.start, width))
        elif norm is not None and share is not None and share.prior.support() == (0.0, 1.0):
            pairs.append((norm.start, share.start))
        elif norm is not None:
            norms.append(norm.start)
    return FluxAxes(np.array(norms, dtype=np.int64), np.array(pairs, dtype=np.int64).reshape(-1, 2), tuple(amplitudes))
