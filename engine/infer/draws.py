"""Which draws of a posterior stand for it where only some are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def picked(n_draws: int, n: int, seed: int) -> NDArray[np.int64]:
    """Numbers (n,) of draws in random order, each once before any comes again.

    The first of them are the same however many are asked for, so that a sky or a replica stays when others are added.

    Args:
        n_draws: how many draws there are.
        n: how many are wanted.
        seed: of the order.
    """
    return np.resize(np.random.default_rng(seed).permutation(n_draws), n)
