"""The quadrature along lines of sight through a bar: how many lie side by side, their panels, the nodes of a panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 24  # lines of sight that the kernels integrate side by side
PANELS = 6
MAX_DISTANCE_KPC = 60.0
CUT_WIDTHS = 5.2  # lines of sight end where the cut-off has fallen by exp(-5.2^2) = 2e-12


def smooth_step(count: int) -> NDArray[np.float64]:
    """p(t) = 3 t^2 - 2 t^3 at Gauss-Legendre nodes, and the weights times p'(t) (2, count)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    t = 0.5 * (nodes + 1.0)
    return np.stack([t**2 * (3.0 - 2.0 * t), weights * 3.0 * t * (1.0 - t)])
