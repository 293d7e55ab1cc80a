"""What a hand-written derivative can not do, said by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax


def first_order_only(name: str, gradient: Callable[..., Any]) -> Callable[..., Any]:
    """Make differentiating `gradient(plan, *arrays)` a TypeError that names the operation `name`."""

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    @wraps(gradient)
    def guarded(plan: Any, *arrays: jax.Array) -> Any:
        return gradient(plan, *arrays)

    @guarded.defjvp
    def _refuse(_plan: Any, _primals: Any, _tangents: Any) -> Any:
        raise TypeError(f"{name}: second derivatives are not available; only reverse mode, once")

    return guarded
