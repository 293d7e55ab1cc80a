"""What hand-written derivatives can not do, said by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_REMEDY = "use reverse mode, at most twice (rows of a Hessian: jax.vmap of a vjp of jax.grad), or backend='reference'"


def last_order(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make differentiating `function(*arrays)`, which gives second derivatives, a TypeError that names `name`."""

    @jax.custom_jvp
    @wraps(function)
    def guarded(*arrays: Any) -> Any:
        return function(*arrays)

    @guarded.defjvp
    def _refuse(_primals: Any, _tangents: Any) -> Any:
        raise TypeError(f"{name}: third derivatives are not available; {_REMEDY}")

    return guarded


def reverse_only(name: str, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make the error of forward mode name the operation: JAX's own says only that a custom_vjp is in the way.

    Where a program is compiled before JAX notices (`jax.jit` of `jax.jvp`), its own words come out.
    """

    @wraps(function)
    def named(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return function(*arguments, **options)
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            raise TypeError(f"{name}: forward mode (jvp, jacfwd, hessian) is not available; {_REMEDY}") from error

    return named
