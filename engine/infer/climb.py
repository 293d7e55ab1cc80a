"""Climbs from several starts side by side, by L-BFGS: what they climb is evaluated at the points of all at once."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.infer.recorded import recorded
from gammasky.engine.kernels.threads import blas_in_one_thread, run_side_by_side

Floats = NDArray[np.float64]
Evaluate = Callable[[Floats], tuple[float, Floats]]
EvaluateAll = Callable[[Floats], tuple[Floats, Floats]]  # points (n, D) to values (n,) and gradients (n, D)
Record = Callable[[Floats, Floats, Floats], None]  # points (n, D), values (n,), gradients (n, D)

# Points per evaluation, always: another number would be another program to compile. A GPU, which waits for the host
# between two evaluations, takes eight times as many in less than twice the time
BATCH, BATCH_ON_GPU = 8, 64
# L-BFGS: with a memory longer than the latent space has axes, and so late an end that two climbs to one optimum agree
# to a hundredth of a posterior sd, it costs no more evaluations than with SciPy's defaults, which leave them 0.2 apart
_CLIMB: dict[str, Any] = {"maxiter": 1000, "maxcor": 80, "ftol": 1e-11}
_WORSE = 1.0  # nat below the last iterate: what a trial point counts where the likelihood does not exist
_LEFT_TO_CLIMB = 0.05  # nat that a climb may still expect to gain, by its own curvature, at the edge of the likelihood


def in_batches(evaluate: Callable[[Floats], Any], points: Floats) -> tuple[Floats, Floats]:
    """Values (n,) and gradients (n, D) at points (n, D), BATCH or, on a GPU, BATCH_ON_GPU at a time, filled up."""
    values, gradients = np.empty(len(points)), np.empty(points.shape)
    at_once = BATCH_ON_GPU if recorded() else BATCH

    def batch(number: int) -> None:
        rows = np.arange(number * at_once, (number + 1) * at_once)
        found = evaluate(points[np.minimum(rows, len(points) - 1)])
        rows = rows[rows < len(points)]
        values[rows], gradients[rows] = (np.asarray(part)[: len(rows)] for part in found)

    for_each_batch(batch, -(-len(points) // at_once))
    return values, gradients


def for_each_batch(evaluate: Callable[[int], None], n: int) -> None:
    """Call `evaluate(0) ... evaluate(n - 1)`, between any two of which an interrupt may come.

    On CPUs two are under way at once: much of what evaluates a batch uses a single thread. A GPU has one queue.
    """

    def one(number: int) -> None:
        interrupt.check()
        evaluate(number)

    if recorded():
        for number in range(n):
            one(number)
    else:
        run_side_by_side(one, n)


def climb(
    evaluate: EvaluateAll,
    starts: Floats,
    *,
    most: int = _CLIMB["maxiter"],
    record: Record | None = None,
    limits: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Value (n,) and position (n, D) of the maxima that L-BFGS reaches in at most `most` iterations.

    -inf and NaN for a start (n, D) that gets stuck on its way up, because the value does not exist further on.

    Every climb runs in a thread of its own, in which SciPy asks for one point after the other. When each climb that is
    still under way has asked, all points are evaluated as one batch. A climb always has the same row of the batch, and
    one that has ended keeps its last point there, so what a climb finds does not hang on how threads are scheduled.

    Args:
        evaluate: gives values and gradients of all points, row by row.
        starts (n, D): where the climbs begin.
        record: gets the points that climbs have asked for, with what was found there.
        limits (n, D, 2): lower and upper limits of each climb, which L-BFGS-B keeps; None for none.
    """
    asked: queue.Queue[tuple[int, Floats | None]] = queue.Queue()
    answers: list[queue.Queue[tuple[float, Floats] | None]] = [queue.Queue() for _ in starts]

    def run(row: int) -> tuple[float, Floats]:
        def ask(point: Floats) -> tuple[float, Floats]:
            asked.put((row, point.copy()))
            answer = answers[row].get()
            if answer is None:
                raise _Stopped
            return answer

        try:
            return _climb_one(ask, starts[row], most, None if limits is None else limits[row])
        finally:
            asked.put((row, None))

    points, under_way = starts.copy(), len(starts)
    with blas_in_one_thread(), ThreadPoolExecutor(len(starts)) as pool:
        climbs = [pool.submit(run, row) for row in range(len(starts))]
        try:
            while under_way:
                requests = [asked.get() for _ in range(under_way)]
                waiting = {row: point for row, point in requests if point is not None}
                under_way = len(waiting)
                for row, point in waiting.items():
                    points[row] = point
                if waiting:
                    values, gradients = evaluate(points)
                    if record is not None:
                        rows = sorted(waiting)
                        record(points[rows], values[rows], gradients[rows])
                for row in waiting:
                    answers[row].put((float(values[row]), gradients[row]))
        except BaseException:  # also an interrupt: let no thread wait for an answer for ever
            for answer in answers:
                answer.put(None)
            raise
    found = [one.result() for one in climbs]
    return np.array([value for value, _ in found]), np.array([point for _, point in found])


class _Stopped(Exception):
    """Ends the thread of a climb that nobody wants any more."""


def _climb_one(evaluate: Evaluate, start: Floats, most: int, limits: Floats | None) -> tuple[float, Floats]:
    """Climb from one place; `climb` does so from many side by side."""
    from scipy.optimize import Bounds, OptimizeResult, minimize

    last, outside = np.inf, False  # the objective at the last iterate; whether a trial point was beyond the likelihood

    def objective(point: Floats) -> tuple[float, Floats]:
        nonlocal last, outside
        value, gradient = evaluate(point)
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            # a little worse than the last iterate: the line search halves its step. Were it much worse, the step
            # would shrink to nothing and the climb would count as converged
            outside = True
            return last + _WORSE, np.zeros_like(point)
        if np.isinf(last):  # the start, which is no iterate
            last = -value
        return -value, -gradient

    def iterate(intermediate_result: OptimizeResult) -> None:
        nonlocal last
        last = intermediate_result.fun

    bounds = None if limits is None else Bounds(*limits.T)
    result = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=iterate,
        options={**_CLIMB, "maxiter": most},
    )
    if "jac" not in result:  # every coordinate is held: SciPy has only looked at the value
        return -float(result.fun), np.asarray(result.x)
    slope = result.jac
    if limits is not None:  # what only a limit holds back is not left to climb
        slope = np.where((result.x <= limits[:, 0]) & (slope > 0) | (result.x >= limits[:, 1]) & (slope < 0), 0, slope)
    if outside and 0.5 * slope @ (result.hess_inv @ slope) > _LEFT_TO_CLIMB:
        return -np.inf, np.full_like(start, np.nan)
    return -float(result.fun), np.asarray(result.x)
