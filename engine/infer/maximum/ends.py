"""Which numbers of a maximum lie at an end of their support: there another prior would move it."""

from __future__ import annotations

import numpy as np

from gammasky.engine.infer.maximum.climbs import Maximum, theta_of
from gammasky.engine.infer.maximum.plane import AT_THE_END, Plane
from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import Dirichlet


def ends_of(model: SkyModel, plane: Plane, maximum: Maximum) -> dict[str, str]:
    """Which free numbers lie at an end of their support, and at which: name -> "lower end" or "upper end"."""
    low, high = plane.at_ends(maximum.y)
    told = {True: "upper end", False: "lower end"}
    theta = theta_of(model, maximum.x)
    found: dict[str, str] = {}
    for name, slot in model.latent.slots.items():
        names = [f"{name}[{label}]" for label in slot.labels] or [name]
        if slot.block:
            continue
        axes = slice(slot.start, slot.start + slot.n_latent)
        if isinstance(slot.prior, Dirichlet):  # shares are no coordinates of the box
            shares = np.asarray(theta[name])
            below, above = (
                near & bool(plane.free[axes].any()) for near in (shares < AT_THE_END, shares > 1 - AT_THE_END)
            )
        else:
            below, above = low[axes], high[axes]
        found |= {one: told[bool(up)] for one, down, up in zip(names, below, above, strict=True) if down or up}
    return found
