"""The ELBO on its way up."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import COLOURS

ZOOM = 0.8  # share of the steps, the last ones, in the second panel
SMOOTHING = 50  # the running mean spans 1 / SMOOTHING of the steps


def draw(trace: np.ndarray) -> Figure:
    """The whole trace and its last 80 %, with a running mean.

    Args:
        trace (steps,): ELBO of each step.
    """
    steps = np.arange(1, len(trace) + 1)
    first = len(trace) - max(round(ZOOM * len(trace)), 1)
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, start, title in ((axes[0], 0, "all steps"), (axes[1], first, "last 80 %")):
        _panel(axis, steps[start:], trace[start:])
        axis.set_title(title)
        axis.set_xlabel("step")
    axes[0].set_ylabel("ELBO [nat]")
    axes[1].legend(loc="lower right")
    return figure


def _panel(axis: Axes, steps: np.ndarray, trace: np.ndarray) -> None:
    axis.plot(steps, trace, color=COLOURS[0], alpha=0.35, linewidth=0.7, label="each step")
    window = max(len(trace) // SMOOTHING, 1)
    mean = np.convolve(trace, np.full(window, 1 / window), mode="valid")
    middle = (window - 1) // 2
    axis.plot(
        steps[middle : middle + len(mean)], mean, color=COLOURS[1], linewidth=1.8, label=f"mean over {window} steps"
    )
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.grid(alpha=0.3)
