"""Objectives and constraints: what their words mean, and that nothing in them is executed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gammasky.distributed.tuning.goals import FAR, Words, front, read_constraint, violations
from gammasky.engine.errors import InputError, unknown_name

COLUMNS = ("log_z", "k_hat", "seconds", "zero")


def column(name: str) -> str:
    if name not in COLUMNS:
        raise unknown_name("column", name, COLUMNS)
    return name


WORDS = Words(column, {"reliable": ("verdict", "reliable")}, "data")
ROW = {"log_z": -10.0, "k_hat": 0.5, "seconds": 30, "zero": 0, "verdict": "reliable", "data": "a"}


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("reliable", 0.0),
        ("k_hat <= 0.7", -0.2),
        ("0.7 >= k_hat", -0.2),
        ("k_hat < 0.5", math.ulp(0.0)),
        ("k_hat <= 0.5", 0.0),
        ("seconds > 2 * (k_hat + 10) - -3.5", -5.5),
        ("log_z + seconds / 60 >= -9", 0.5),
        ("seconds / zero < 3", FAR),
        ("k_hat <= +1", -0.5),
    ],
)
def test_by_how_much_a_row_violates(text: str, amount: float) -> None:
    assert read_constraint(text, WORDS).violation(ROW, math.nan) == pytest.approx(amount, abs=0, rel=1e-12)


def test_what_is_not_known_meets_nothing() -> None:
    for row in ({"verdict": None}, {"k_hat": math.nan}, {"k_hat": "small"}):
        for text in ("reliable", "k_hat <= 0.7", "k_hat > 0.7"):
            assert read_constraint(text, WORDS).violation(row, math.nan) > 0


def amounts(text: str, rows: list[dict[str, Any]]) -> list[float]:
    return [found[0] for found in violations(rows, [read_constraint(text, WORDS)])]


def test_the_best_is_the_highest_or_the_lowest_as_the_comparison_says() -> None:
    rows = [{"log_z": value, "data": data} for value, data in ((-1.0, "a"), (-4.0, "a"), (-20.0, "b"), (-21.0, "b"))]
    assert amounts("log_z >= best - 3", rows) == [-3.0, 0.0, 16.0, 17.0]
    assert amounts("best - 3 <= log_z", rows) == [-3.0, 0.0, 16.0, 17.0]
    assert amounts("log_z <= best + 3", rows) == [17.0, 14.0, -2.0, -3.0]
    assert amounts("log_z >= best_of_data - 0.5", rows) == [-0.5, 2.5, -0.5, 0.5]


def test_the_best_is_among_those_that_meet_all_else() -> None:
    rows = [{"log_z": 0.0, "verdict": "unreliable"}, {"log_z": -9.0, "verdict": "reliable"}]
    both = [read_constraint(text, WORDS) for text in ("log_z >= best - 5", "reliable")]
    assert violations(rows, both) == [[-14.0, 1.0], [-5.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("realiable", r"unknown column 'realiable'"),
        ("k_hta < 0.7", r"unknown column 'k_hta'; did you mean 'k_hat'\?"),
        ("k_hat", "constraint 'k_hat': a column alone is no condition; compare it, or name 'reliable'"),
        ("k_hat <", "constraint 'k_hat <': expected a comparison such as 'log_z >= best - 5', or 'reliable'"),
        ("0 < k_hat < 1", "expected one comparison with <, <=, > or >="),
        ("k_hat == 1", "expected one comparison"),
        ("not reliable", "expected one comparison"),
        ("1 < 2", "names no column"),
        ("k_hat < __import__('os').getpid()", "unknown column '__import__'"),
        ("k_hat ** 2 < 1", r"got 'k_hat \*\* 2'"),
        ("k_hat < seconds.real", r"expected columns, numbers, \+ - \* / and parentheses, got 'seconds.real'"),
        ("k_hat < True", "got 'True'"),
        ("k_hat < 'a'", "expected columns, numbers"),
        ("k_hat < (lambda: 1)()", "expected columns, numbers"),
        ("log_z >= best - k_hat", "`best` is that of one column on the other side"),
        ("best >= best - 5", "`best` is that of one column"),
        ("log_z - best >= -5", "`best` is that of one column on the other side"),
        ("log_z >= best - best_of_data", "`best` is that of one column"),
        ("(" * 150 + "1" + ")" * 150 + "< k_hat", "expected a comparison"),
    ],
)
def test_what_is_no_constraint(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        read_constraint(text, WORDS)
    assert "\n" not in str(found.value)


def test_the_front() -> None:
    values = [[1.0, 5.0], [2.0, 2.0], [3.0, 3.0], [5.0, 1.0], [1.0, 5.0], [1.0, 6.0]]
    assert front(values) == [0, 1, 3, 4]
    assert front([[3.0], [1.0], [2.0]]) == [1]
    assert front([]) == []
