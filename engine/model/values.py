"""Numbers of a model that are fixed or parameters, and what is known of the places where parameters stand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from pydantic import Field

#: A number, or the name of the parameter that takes its place.
Value = Annotated[float, Field(allow_inf_nan=False)] | str
Parameters = dict[str, jax.Array]
Arrays = dict[str, Any]


def value_of(value: Value, theta: Parameters) -> jax.Array:
    """The number itself, or the parameter of that name."""
    return theta[value] if isinstance(value, str) else jnp.asarray(float(value))


@dataclass(frozen=True)
class Use:
    """One place of a model where a parameter stands.

    Attributes:
        parameter: its name.
        where: the place, for messages.
        elements: names of the elements of a vector; () for a single number.
        least: the smallest value that makes sense in this place; `what` says what the number is.
        shares: whether it holds the shares of a mixture, which add up to 1.
        per_bin: whether its elements are the energy bins of the data set, whose names only those who know it can give.
    """

    parameter: str
    where: str
    elements: tuple[str, ...] = ()
    least: float = -math.inf
    what: str = ""
    shares: bool = False
    per_bin: bool = False


def uses_of(where: str, *values: Any) -> Iterator[Use]:
    """A use for each of the values that is the name of a parameter."""
    for value in values:
        if isinstance(value, str):
            yield Use(value, where)
