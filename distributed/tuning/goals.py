"""What a search is for: columns of a row to make small or large, and constraints on them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gammasky.engine.errors import InputError

BEST, BEST_OF_DATA = "best", "best_of_data"
FAR = 1e9  # by how much a trial without a number violates what is asked of it
_LONGEST = 200  # characters of a constraint
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], tuple[bool, bool]] = {  # larger on the left; strictly
    ast.Gt: (True, True),
    ast.GtE: (True, False),
    ast.Lt: (False, True),
    ast.LtE: (False, False),
}
Row = Mapping[str, Any]
Expression = Callable[[Row, float], float]  # of a row and the best value


@dataclass(frozen=True)
class Goal:
    """A column to be made small ("minimize") or large ("maximize")."""

    column: str
    direction: str

    @property
    def sign(self) -> float:
        """Times a value: the smaller, the better."""
        return -1.0 if self.direction == "maximize" else 1.0


@dataclass(frozen=True)
class Words:
    """What the names in constraints mean.

    Attributes:
        column: the column of a name; raises InputError for one that is none.
        facts: name -> a column and the text in it that makes the name true (`reliable`).
        group: the column that is equal for trials on the same data.
    """

    column: Callable[[str], str]
    facts: Mapping[str, tuple[str, str]]
    group: str


@dataclass(frozen=True)
class Constraint:
    """What is asked of a trial.

    Attributes:
        text: as it was written.
        columns: that it is about.
        relative: "", or which best value it is relative to: BEST or BEST_OF_DATA.
        highest: whether the best value is the highest one.
        excess: of a row and the best value, by how much it is violated; nothing or less where it holds.
        group: column of rows on the same data.
    """

    text: str
    columns: tuple[str, ...]
    relative: str
    highest: bool
    excess: Expression
    group: str

    def violation(self, row: Row, best: float) -> float:
        """The amount by which a row violates the constraint; at most zero where the constraint holds."""
        amount = self.excess(row, best)
        return min(amount, FAR) if not math.isnan(amount) else FAR

    def best(self, rows: Sequence[Row], row: Row) -> float:
        """The best value that a row is compared with, among these; NaN where there is none."""
        if not self.relative:
            return math.nan
        near = rows if self.relative == BEST else [other for other in rows if other.get(self.group) == row[self.group]]
        values = [value for other in near if math.isfinite(value := number_in(other, self.columns[0]))]
        return (max if self.highest else min)(values, default=math.nan)


def number_in(row: Row, column: str) -> float:
    """A number of a row; NaN where it has none."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else math.nan


def read_constraint(text: str, words: Words) -> Constraint:
    """A constraint from its text: a fact, or a comparison of sums and products of columns and numbers.

    The text is parsed, and nothing in it is executed. `best` stands for the best value of the one column beside it:
    the highest where the column is to lie above something, else the lowest.

    Raises:
        InputError: anything else; says what is not allowed.
    """
    told = f"constraint '{text:.60}'"
    if text in words.facts:
        column, wanted = words.facts[text]
        return Constraint(text, (column,), "", True, lambda row, _: float(row.get(column) != wanted), words.group)
    try:
        if len(text) > _LONGEST:
            raise SyntaxError
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{told}: expected a comparison such as 'log_z >= best - 5', or {_facts(words)}") from None
    if isinstance(node, ast.Name):
        words.column(node.id)
        raise InputError(f"{told}: a column alone is no condition; compare it, or name {_facts(words)}")
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
        raise InputError(f"{told}: expected one comparison with <, <=, > or >=, or {_facts(words)}")
    larger, strictly = _COMPARISONS[type(node.ops[0])]
    sides = (node.left, node.comparators[0])
    names = [list(dict.fromkeys(_names(side))) for side in sides]
    columns = [words.column(name) for name in dict.fromkeys(names[0] + names[1]) if name not in (BEST, BEST_OF_DATA)]
    relative, highest = _relative(told, names, larger)
    left, right = (_expression(side, told, words) for side in sides)
    low, high = (right, left) if larger else (left, right)

    def excess(row: Row, best: float) -> float:
        amount = low(row, best) - high(row, best)
        return math.ulp(0.0) if strictly and amount == 0 else amount

    if not columns:
        raise InputError(f"{told}: names no column; it says nothing of a trial")
    return Constraint(text, tuple(columns), relative, highest, excess, words.group)


def _facts(words: Words) -> str:
    return " or ".join(f"'{name}'" for name in words.facts)


def _names(node: ast.expr) -> Iterator[str]:
    yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _relative(told: str, names: list[list[str]], larger: bool) -> tuple[str, bool]:
    """Which best value a comparison is relative to, if to any, and whether that is the highest."""
    best = {name for side in names for name in side if name in (BEST, BEST_OF_DATA)}
    if not best:
        return "", True
    others = [[name for name in side if name not in best] for side in names]
    one_column = sorted(map(len, others)) == [0, 1]
    if len(best) > 1 or not one_column or not best.isdisjoint(names[0 if others[0] else 1]):
        raise InputError(f"{told}: `best` is that of one column on the other side, as in 'log_z >= best - 5'")
    return best.pop(), larger == bool(others[0])


def _expression(node: ast.expr, told: str, words: Words) -> Expression:
    """A side of a comparison."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = float(node.value)  # type: ignore[arg-type]
        return lambda _row, _best: number
    if isinstance(node, ast.Name) and node.id in (BEST, BEST_OF_DATA):
        return lambda _row, best: best
    if isinstance(node, ast.Name):
        column = words.column(node.id)
        return lambda row, _best: number_in(row, column)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign, inner = (-1.0 if isinstance(node.op, ast.USub) else 1.0), _expression(node.operand, told, words)
        return lambda row, best: sign * inner(row, best)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        operation = _OPERATIONS[type(node.op)]
        first, second = (_expression(side, told, words) for side in (node.left, node.right))

        def value(row: Row, best: float) -> float:
            try:
                return operation(first(row, best), second(row, best))
            except (ZeroDivisionError, OverflowError):
                return math.nan

        return value
    raise InputError(f"{told}: expected columns, numbers, + - * / and parentheses, got '{ast.unparse(node):.40}'")


def violations(rows: Sequence[Row], constraints: Sequence[Constraint]) -> list[list[float]]:
    """The amount (rows, constraints) by which each row violates each constraint.

    The best values are those among the rows that meet all constraints which are not relative to one.
    """
    absolute = [constraint for constraint in constraints if not constraint.relative]
    meet = [row for row in rows if all(constraint.violation(row, math.nan) <= 0 for constraint in absolute)]
    return [[constraint.violation(row, constraint.best(meet, row)) for constraint in constraints] for row in rows]


def front(values: Sequence[Sequence[float]]) -> list[int]:
    """Places of those that no other is better than in one respect and at least as good as in all; smaller is better."""

    def dominated(mine: Sequence[float]) -> bool:
        return any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and list(other) != list(mine) for other in values
        )

    return [place for place, mine in enumerate(values) if not dominated(mine)]
