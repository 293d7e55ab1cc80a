"""Numbers of a model that are fixed, parameters, or expressions of parameters, and what is known of their places."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from pydantic import Field

from gammasky.engine.errors import InputError
from gammasky.engine.model.expressions import is_name, read
from gammasky.engine.model.intervals import Interval

#: A number, the name of the parameter that takes its place, or an expression of parameters such as "F * (1 - f)".
Value = Annotated[float, Field(allow_inf_nan=False)] | str
Parameters = dict[str, jax.Array]
Arrays = dict[str, Any]


def value_of(value: Value, theta: Mapping[str, Any]) -> jax.Array:
    """The number itself, the parameter of that name, or what an expression of parameters gives."""
    if is_name(value):
        return theta[value]
    return read(value).value(theta) if isinstance(value, str) else jnp.asarray(float(value))


def limits_of(where: str, value: Value, supports: Mapping[str, Interval]) -> Interval:
    """The lowest and the highest number that a value may be, for parameters with these limits.

    Raises:
        InputError: an expression that some of them have no value of; says `where`.
    """
    return read(value, where).limits(supports) if isinstance(value, str) else (float(value), float(value))


@dataclass(frozen=True)
class Use:
    """One place of a model where a parameter stands.

    Attributes:
        parameter: its name.
        where: the place, for messages.
        elements: names of the elements of a vector; () for a single number.
        least, most: the limits of what makes sense in this place; `what` says what the number is.
        shares: whether it holds the shares of a mixture, which add up to 1.
        per_bin: whether its elements are the energy bins of the data set, whose names only those who know it can give.
        expression: the expression that it stands in, whose value has those limits; "" where it stands alone.
        block: whether its elements are the many coefficients of one thing, such as a field.
    """

    parameter: str
    where: str
    elements: tuple[str, ...] = ()
    least: float = -math.inf
    what: str = ""
    shares: bool = False
    per_bin: bool = False
    most: float = math.inf
    expression: str = ""
    block: bool = False


def uses_of(
    where: str, *values: Any, least: float = -math.inf, most: float = math.inf, what: str = ""
) -> Iterator[Use]:
    """A use for each of the values that is the name of a parameter, and for each name in an expression.

    Args:
        where: the place, with its key, for messages.
        values: numbers, names and expressions; anything else is passed over.
        least, most: the limits of what makes sense there.
        what: what the number is, where there are limits.

    Raises:
        InputError: a text that is neither a name nor an expression, or a fixed number beyond the limits.
    """
    for value in values:
        if is_name(value):
            yield Use(value, where, least=least, most=most, what=what)
        elif isinstance(value, str):
            expression = read(value, where)
            names = expression.names()
            if not names:
                expression.require_between({}, least, most, what)
            for name in names:
                yield Use(name, where, least=least, most=most, what=what, expression=value)
        elif isinstance(value, float) and not least <= value <= most:
            bound = f"at least {least:g}" if value < least else f"at most {most:g}"
            raise InputError(f"{where}: {what} must be {bound}, got {value:g}")
