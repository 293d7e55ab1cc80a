"""Other random numbers for a whole run: a test of a stochastic result must hold whichever seed it was written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def shift_seeds(shift: int) -> None:
    """From here on let every seed, of tests and of what they test, stand for other random numbers than it does.

    Processes that a test starts keep theirs. A test that holds numbers of one seed against a list fails, of course.
    """
    np.random.default_rng = _shifted_generator(np.random.default_rng, shift)  # type: ignore[assignment]
    for name in ("key", "PRNGKey"):
        setattr(jax.random, name, _shifted_key(getattr(jax.random, name), shift))


def _shifted_generator(make: Callable[..., Any], shift: int) -> Callable[..., Any]:
    def default_rng(seed: Any = None) -> Any:
        numbers = isinstance(seed, int | np.integer | list | tuple)
        return make([shift, *np.atleast_1d(seed).tolist()]) if numbers else make(seed)

    return default_rng


def _shifted_key(make: Callable[..., Any], shift: int) -> Callable[..., Any]:
    def key(seed: Any, **options: Any) -> Any:
        return jax.random.fold_in(make(seed, **options), shift)

    return key
