"""What hand-written derivatives can not do, said by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_REMEDY = "take second derivatives as central differences of the exact gradient (jax.grad), or use backend='reference'"


def first_order(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Make differentiating `kernel(*arrays)`, which holds values and first derivatives, a TypeError that names `name`.

    JAX itself would say only that a callback has no derivative.
    """

    @jax.custom_jvp
    @wraps(kernel)
    def guarded(*arrays: Any) -> Any:
        return kernel(*arrays)

    @guarded.defjvp
    def _refuse(_primals: Any, _tangents: Any) -> Any:
        raise TypeError(f"{name}: second derivatives are not available; {_REMEDY}")

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
