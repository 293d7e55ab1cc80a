"""Numba products with the response matrix: read once, row by row, as it is stored, for eight columns at a time.

A copy of the matrix, or of its transpose, costs more than the product: for one parameter point there are only as many
columns as populations.
"""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.threads import run_tasks
from gammasky.engine.kernels.vectors import WIDTH, ZERO, Builder, constant, rows_of, writes

Floats = NDArray[np.float64]

SIDE = 4  # rows of the matrix side by side
CHUNK = 128  # of its rows, or columns, for one task


def _dot(count: int) -> Any:
    @intrinsic
    def dot(_typing: Any, work: Any, target: Any, last: Any, matrix: Any, start: Any, step: Any) -> Any:
        """work[target + i] = sum_{s=0..last} matrix[start + i step + s] work[s] for i < count; matrix has one axis."""

        def generate(code: Builder, given: Any) -> None:
            _, target, last, _, start, step = given
            starts = [code.sum(start, code.builder.mul(step, constant(i))) for i in range(count)]

            def each(s: Any, sums: list[Any]) -> list[Any]:
                row = code.load(s)
                return [
                    code.multiply_add(code.number(3, code.sum(begin, s)), row, total)
                    for begin, total in zip(starts, sums, strict=True)
                ]

            for i, total in enumerate(code.loop(constant(0), last, [ZERO] * count, each)):
                code.store(code.sum(target, i), total)

        return types.void(work, types.int64, types.int64, matrix, types.int64, types.int64), writes(generate)

    return dot


def _add(count: int) -> Any:
    @intrinsic
    def add(_typing: Any, work: Any, source: Any, last: Any, matrix: Any, start: Any, step: Any) -> Any:
        """work[s] += sum_{i < count} matrix[start + i step + s] work[source + i] for s = 0 .. last."""

        def generate(code: Builder, given: Any) -> None:
            _, source, last, _, start, step = given
            factors = [code.load(code.sum(source, i)) for i in range(count)]
            starts = [code.sum(start, code.builder.mul(step, constant(i))) for i in range(count)]

            def each(s: Any, _values: list[Any]) -> list[Any]:
                total = code.load(s)
                for factor, begin in zip(factors, starts, strict=True):
                    total = code.multiply_add(code.number(3, code.sum(begin, s)), factor, total)
                code.store(s, total)
                return []

            code.loop(constant(0), last, [], each)

        return types.void(work, types.int64, types.int64, matrix, types.int64, types.int64), writes(generate)

    return add


_dot_side, _dot_one, _add_side, _add_one = _dot(SIDE), _dot(1), _add(SIDE), _add(1)


@njit(**COMPILE)
def _forward(matrix: Floats, nodes: int, dnds: Floats, panel: int, first: int, last: int, x: Floats) -> None:
    """x (N, rows) at the rows first .. last - 1 and the columns of the panel, from dnds (N, nodes)."""
    work = rows_of(nodes + SIDE)
    begin, end = panel * WIDTH, min((panel + 1) * WIDTH, len(dnds))
    for n in range(begin, end):
        for s in range(nodes):
            work[s, n - begin] = dnds[n, s]
    row = first
    while row < last:
        count = SIDE if row + SIDE <= last else 1
        if count == SIDE:
            _dot_side(work, nodes, nodes - 1, matrix, row * nodes, nodes)
        else:
            _dot_one(work, nodes, nodes - 1, matrix, row * nodes, nodes)
        for i in range(count):
            for n in range(begin, end):
                x[n, row + i] = work[nodes + i, n - begin]
        row += count


@njit(**COMPILE)
def _back(matrix: Floats, nodes: int, d_x: Floats, panel: int, first: int, last: int, d_dnds: Floats) -> None:
    """d_dnds (N, nodes) at the nodes first .. last - 1 and the columns of the panel, from d_x (N, rows)."""
    width, rows = last - first, d_x.shape[1]
    work = rows_of(width + SIDE)
    begin, end = panel * WIDTH, min((panel + 1) * WIDTH, len(d_x))
    row = 0
    while row < rows:
        count = SIDE if row + SIDE <= rows else 1
        for i in range(count):
            for n in range(begin, end):
                work[width + i, n - begin] = d_x[n, row + i]
        if count == SIDE:
            _add_side(work, width, width - 1, matrix, row * nodes + first, nodes)
        else:
            _add_one(work, width, width - 1, matrix, row * nodes + first, nodes)
        row += count
    for n in range(begin, end):
        for s in range(width):
            d_dnds[n, first + s] = work[s, n - begin]


def _share(kernel: Any, matrix: Floats, given: Floats, length: int, result: Floats) -> None:
    """Run a kernel for every panel of columns and chunk of the results."""
    joined, nodes = matrix.reshape(-1), matrix.shape[1]
    chunks, panels = -(-length // CHUNK), -(-len(given) // WIDTH)

    def task(number: int) -> None:
        chunk, panel = divmod(number, panels)
        kernel(joined, nodes, given, panel, chunk * CHUNK, min((chunk + 1) * CHUNK, length), result)

    run_tasks(task, chunks * panels)


def expected_sources(matrix: Floats, dnds: Floats, x: Floats) -> None:
    """Fill x (N, rows) = dnds (N, S) times the transpose of the matrix (rows, S), on all threads."""
    _share(_forward, matrix, dnds, len(matrix), x)


def expected_sources_rev(matrix: Floats, d_x: Floats, d_dnds: Floats) -> None:
    """Fill d_dnds (N, S) = d_x (N, rows) times the matrix (rows, S), on all threads."""
    _share(_back, matrix, d_x, matrix.shape[1], d_dnds)
