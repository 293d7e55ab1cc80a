"""Numbers of a model that are written as expressions of its parameters, such as F * (1 - f).

An expression is made of numbers, names of parameters, + - * / **, the unary minus, exp, log, sqrt, min and max. The
text is read by `ast` into a small tree of operations of JAX and of intervals; anything else in it is refused, and no
part of it is ever run as Python.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp

from gammasky.engine.errors import InputError
from gammasky.engine.model.intervals import OPERATIONS, Interval, Undefined

MOST_CHARACTERS = 1000
MOST_LEVELS = 100  # of operations inside operations; a sum of n terms has n - 1
MOST_BRACKETS = 50
ALLOWED = "+ - * / ** exp log sqrt min max, numbers and parameters"

_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.USub: "minus",
}  # fmt: skip
_FUNCTIONS = {"exp": 1, "log": 1, "sqrt": 1, "min": 2, "max": 2}  # how many numbers they take; min and max, or more
_EVALUATE: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "minus": operator.neg,
    "**": jnp.power,
    "exp": jnp.exp, "log": jnp.log, "sqrt": jnp.sqrt,
    "min": lambda *parts: reduce(jnp.minimum, parts), "max": lambda *parts: reduce(jnp.maximum, parts),
}  # fmt: skip
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Part:
    """A number, a parameter, or an operation on parts.

    Attributes:
        text: as it was written.
        at: its first character in the whole expression, from 1.
        value: of a number, else None.
        operation: its word or sign; "" for numbers and parameters.
        parts: what it works on.
    """

    text: str
    at: int
    value: float | None = None
    operation: str = ""
    parts: tuple[_Part, ...] = ()

    def evaluate(self, theta: Mapping[str, jax.Array]) -> Any:
        if self.value is not None:
            return self.value
        if not self.operation:
            return theta[self.text]
        found = [part.evaluate(theta) for part in self.parts]
        if self.operation == "**" and isinstance(found[1], float) and found[1].is_integer():
            return jnp.asarray(found[0]) ** int(found[1])  # by products: of a negative number, too, with its derivative
        return _EVALUATE[self.operation](*found)

    def names(self) -> Iterator[_Part]:
        if self.value is None and not self.operation:
            yield self
        for part in self.parts:
            yield from part.names()

    def limits(self, supports: Mapping[str, Interval], refuse: Callable[[int, str], InputError]) -> Interval:
        if self.value is not None:
            return self.value, self.value
        if not self.operation:
            return supports[self.text]
        given = [part.limits(supports, refuse) for part in self.parts]
        try:
            low, high = OPERATIONS[self.operation](*given)
        except Undefined as error:
            part, (low, high) = self.parts[error.part], given[error.part]
            raise refuse(
                part.at,
                f"{error.why}: by the priors '{part.text}' lies in {low:g} to {high:g}; change a prior, or what "
                "stands there",
            ) from None
        return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


@dataclass(frozen=True)
class Expression:
    """An expression that was read; see `read`.

    Attributes:
        text: as it was written.
        where: the place where it stands, for messages.
    """

    text: str
    where: str
    root: _Part

    def value(self, theta: Mapping[str, jax.Array]) -> jax.Array:
        """The number at the parameters `theta`, a scalar."""
        return jnp.asarray(self.root.evaluate(theta), dtype=float)

    def names(self) -> dict[str, int]:
        """The parameters in it, each with the character of the text, from 1, where it first stands."""
        found: dict[str, int] = {}
        for part in self.root.names():
            found.setdefault(part.text, part.at)
        return found

    def limits(self, supports: Mapping[str, Interval]) -> Interval:
        """The lowest and the highest value, for parameters with these limits; it may be wider than the truth.

        Raises:
            InputError: some of these parameters have no value: a division by zero, a logarithm of zero and the like.
        """
        return self.root.limits(supports, lambda at, what: problem(self.where, self.text, at, what))

    def require_between(self, supports: Mapping[str, Interval], least: float, most: float, what: str) -> None:
        """Refuse an expression that leaves these limits, or has no value, for parameters of these `supports`.

        Raises:
            InputError: says where and what it may be.
        """
        low, high = self.limits(supports)
        slack = _ROUNDING * max((abs(end) for end in (low, high, least, most) if math.isfinite(end)), default=0.0)
        if low >= least - slack and high <= most + slack:
            return
        wanted, mend = (
            (f"at least {least:g}", f"max({least:g}, ...)")
            if low < least - slack
            else (f"at most {most:g}", f"min({most:g}, ...)")
        )
        raise problem(
            self.where, self.text, self.root.at,
            f"{what or 'it'} must be {wanted}, and by the priors may be {low:g} to {high:g} (worked out term by term: "
            f"wider than the truth where a name stands twice); change the priors, write each name once, or put {mend} "
            "around it",
        )  # fmt: skip


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a value is the name of a parameter and nothing more."""
    return isinstance(value, str) and value.isidentifier()


def names_in(text: str) -> set[str]:
    """The parameters in an expression of more than one name; none in any other text, such as the name of a map."""
    try:
        return set() if is_name(text) else set(read(text).names())
    except InputError:
        return set()


def substituted(text: str, values: Mapping[str, Any]) -> str:
    """An expression with numbers or other names in place of some of its parameters; any other text as it is."""
    if not names_in(text) & values.keys():
        return text
    put = {name: f"({value!r})" if isinstance(value, float) else str(value) for name, value in values.items()}
    # the e of 1e-3 and of 1.e-3 is no name
    return re.sub(r"(?<![\w.])[^\W\d]\w*", lambda found: put.get(found[0], found[0]), text)


def problem(where: str, text: str, at: int, what: str) -> InputError:
    """What is wrong with an expression, and at which of its characters, from 1."""
    line = re.sub(r"\s", " ", text)
    shown = line if len(line) <= 80 else line[:77] + "..."
    return InputError(f"{where}: '{shown}', character {at}: {what}")


@lru_cache(maxsize=1024)
def read(text: str, where: str = "expression") -> Expression:
    """The expression of a text.

    Raises:
        InputError: anything that is no such expression; says `where`, the text and the position in it.
    """
    if text.isidentifier():
        return Expression(text, where, _Part(text, 1))
    if len(text) > MOST_CHARACTERS:
        raise problem(where, text, MOST_CHARACTERS + 1, f"expected at most {MOST_CHARACTERS} characters")
    _require_flat(text, where)
    stripped = re.sub(r"\s", " ", text).strip()
    offset = len(text) - len(text.lstrip())
    try:
        tree = ast.parse(stripped, mode="eval")
    except SyntaxError as error:
        raise problem(where, text, offset + (error.offset or len(stripped)), _misread(stripped)) from None
    except (RecursionError, MemoryError, ValueError):
        raise problem(where, text, 1, "it cannot be read; write it shorter") from None
    return Expression(text, where, _Reader(text, where, stripped, offset).part(tree.body, 1))


def _require_flat(text: str, where: str) -> None:
    """Refuse brackets inside brackets without end."""
    depth = 0
    for at, character in enumerate(text, start=1):
        depth += (character in "([{") - (character in ")]}")
        if depth > MOST_BRACKETS:
            deep = f"nested too deep, expected at most {MOST_BRACKETS} brackets inside brackets"
            raise problem(where, text, at, deep)


def _misread(text: str) -> str:
    """Why Python's grammar does not know a text."""
    taken = next((word for word in re.findall(r"\w+", text) if keyword.iskeyword(word)), None)
    if taken is not None:
        return f"'{taken}' cannot stand in an expression; rename the parameter"
    return f"expected the name of a parameter or an expression of {ALLOWED}; correct it"


@dataclass(frozen=True)
class _Reader:
    """From the tree of Python's grammar to that of an expression."""

    text: str
    where: str
    stripped: str
    offset: int

    def part(self, node: ast.expr, level: int) -> _Part:
        text = ast.get_source_segment(self.stripped, node) or ""
        if level > MOST_LEVELS:
            raise self._refused(node, f"nested too deep, expected at most {MOST_LEVELS} operations inside operations")
        match node:
            case ast.Constant(value=float() | int() as value) if not isinstance(value, bool):
                if not math.isfinite(number := _float(value)):
                    raise self._refused(node, f"expected a finite number, got '{text:.20}'")
                return _Part(text, self._at(node), value=number)
            case ast.Name():
                return _Part(text, self._at(node))
            case ast.BinOp(op=operator) if type(operator) in _SIGNS:
                return self._operation(node, _SIGNS[type(operator)], [node.left, node.right], level)
            case ast.UnaryOp(op=ast.USub()):
                return self._operation(node, "minus", [node.operand], level)
            case ast.Call(func=ast.Name(id=function)) if function in _FUNCTIONS and not node.keywords:
                wanted, got = _FUNCTIONS[function], len(node.args)
                if got < wanted or (wanted == 1 and got > 1):
                    many = "one number" if wanted == 1 else "two numbers or more"
                    raise self._refused(node, f"{function} takes {many}, got {got}")
                return self._operation(node, function, node.args, level)
        raise self._refused(node, f"'{text:.40}' is not allowed; an expression is made of {ALLOWED}")

    def _operation(self, node: ast.expr, operation: str, parts: list[ast.expr], level: int) -> _Part:
        text = ast.get_source_segment(self.stripped, node) or ""
        found = tuple(self.part(part, level + 1) for part in parts)
        return _Part(text, self._at(node), operation=operation, parts=found)

    def _at(self, node: ast.expr) -> int:
        before = self.stripped.encode()[: node.col_offset]  # columns are bytes
        return self.offset + len(before.decode()) + 1

    def _refused(self, node: ast.expr, what: str) -> InputError:
        return problem(self.where, self.text, self._at(node), what)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
