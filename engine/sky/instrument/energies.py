"""The energies at which a response is looked up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

PER_DECADE = 25


def energy_nodes(edges_gev: np.ndarray) -> np.ndarray:
    """Energies (n,) [GeV] for bins: their edges (E + 1,), and between them a log grid of at least 25 to a decade."""
    parts = []
    for low, high in pairwise(edges_gev):
        parts.append(np.geomspace(low, high, max(2, int(np.ceil(PER_DECADE * np.log10(high / low))) + 1))[:-1])
    return np.concatenate([*parts, np.asarray(edges_gev)[-1:]])
