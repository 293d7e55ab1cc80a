"""Numbers of a model that a likelihood can be profiled along: parameters, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.climb import BATCH, for_each_batch
from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.maximum.null import axes_of, require_maximum, scales_only
from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import ScalarPrior
from gammasky.engine.model.values import Arrays, Parameters

Floats = NDArray[np.float64]
_NAME = re.compile(r"([^\[\]]+?)\s*(?:\[([^\[\]]+)\])?")


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number of a model.

    Attributes:
        name: as it was asked for; unit: of its values.
        low, high: between which values it can be.
        axis: of the box on which it lies alone; None where it is a function of several.
        to_box: the coordinate there of a value; for a number that has an axis.
        value: the number at parameters by name.
        scale: it is a norm, which may be 0: its component is then not there.
    """

    name: str
    unit: str
    low: float
    high: float
    axis: int | None
    to_box: Callable[[float], float] | None
    value: Callable[[Parameters, Arrays], jax.Array]
    scale: bool

    def evaluate(self, model: SkyModel, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Log-likelihood (n,), its gradient (n, D), the number (n,) and its gradient (n, D) at points x (n, D)."""

        def both(point: jax.Array, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
            theta = model.latent.in_box(arrays["priors"], point)
            return model.log_likelihood(theta, arrays), self.value(theta, arrays)

        def run(arrays: Arrays, points: jax.Array) -> Any:
            def one(point: jax.Array) -> Any:
                values, back = jax.vjp(lambda at: both(at, arrays), point)
                one, none = jnp.ones(()), jnp.zeros(())
                return values[0], back((one, none))[0], values[1], back((none, one))[0]

            return jax.vmap(one)(points)

        program = model.program(("likelihood and", self.name), lambda: jax.jit(run))
        parts: list[Any] = [None] * -(-len(x) // BATCH)

        def batch(number: int) -> None:
            first = number * BATCH
            rows = np.minimum(np.arange(first, first + BATCH), len(x) - 1)
            found = program(model.arrays, jnp.asarray(x[rows]))
            parts[number] = [np.asarray(part)[: len(x) - first] for part in found]

        for_each_batch(batch, len(parts))
        log_likelihood, slope, value, value_slope = (np.concatenate(part) for part in zip(*parts, strict=True))
        return log_likelihood, slope, value, value_slope


def read_quantity(text: str, model: SkyModel) -> Quantity:
    """The number of that name: "S_gce", "theta_pib[Opi]", "flux[gce]" or "point_source_fraction[gce]".

    Raises:
        InputError: no such number (with the nearest match), or a model with fields: see `require_maximum`.
    """
    require_maximum(model)
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise InputError(f"'{text}': expected a parameter, NAME or NAME[ELEMENT], or {FLUX}[COMPONENT], or "
                         f"{POINT_SOURCE_FRACTION}[GROUP]")  # fmt: skip
    name, label = found[1], found[2]
    if name in (FLUX, POINT_SOURCE_FRACTION) and name not in model.latent.slots:
        return _derived(name, label, model)
    slots = model.latent.slots
    if name not in slots:
        raise unknown_name("number", name, [*slots, FLUX, POINT_SOURCE_FRACTION])
    slot = slots[name]
    if (label is None) == bool(slot.labels) or (label is not None and label not in slot.labels):
        expected = f"one of {', '.join(f'{name}[{one}]' for one in slot.labels)}" if slot.labels else f"'{name}'"
        raise InputError(f"'{text}': expected {expected}")
    element = slot.labels.index(label) if label is not None else 0
    low, high = slot.prior.support()
    alone = isinstance(slot.prior, ScalarPrior)
    scale = not slot.labels and low > 0 and scales_only(model.spec, name) and slot.prior.box(0)[0] == 0.0
    linear = scale and slot.prior.prior == "uniform"

    def value(theta: Parameters, arrays: Arrays) -> jax.Array:
        del arrays
        return theta[name][element] if slot.labels else theta[name]

    return Quantity(
        text.strip(),
        slot.prior.unit,
        0.0 if linear else low,
        high,
        axes_of(slot)[element] if alone else None,
        (lambda at: float(slot.prior.to_box(np.asarray(at))[0])) if alone else None,
        value,
        (low == 0.0 and scales_only(model.spec, name)) or linear,
    )


def _derived(name: str, label: str | None, model: SkyModel) -> Quantity:
    """The mean counts per pixel of a component, or the share of point sources in a group."""
    known = [component.name for component in model.spec.components] if name == FLUX else model.expectation.groups
    what = "component" if name == FLUX else "group of smooth emission and point sources"
    if label not in known:
        raise unknown_name(what, str(label or ""), known)

    def value(theta: Parameters, arrays: Arrays) -> jax.Array:
        sky = model.sky(theta, arrays)
        of = model.expectation.fluxes if name == FLUX else model.expectation.point_source_fractions
        return of(sky)[str(label)]

    high, unit = (np.inf, "counts/pixel") if name == FLUX else (1.0, "")
    return Quantity(f"{name}[{label}]", unit, 0.0, high, None, None, value, False)
