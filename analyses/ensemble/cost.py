"""How long a fit takes, roughly: for plans and progress, never for results.

Seconds on one core of a 2-core machine, from the fiducial model on the Fermi data: 8,292 pixels of
which 6,839 are fitted, 25 to 37 parameters. Short fits of it (svi, 1,500 steps of 4) take 54 to 70 s.
"""

from __future__ import annotations

import numpy as np

from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.methods.auto import Auto
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.stage import N_STARTS
from gammasky.engine.sky.observation import Observation

# 2.5 ms per value and gradient of one particle (`gammasky bench likelihood`, one thread), of which the NPTF kernel 1.0
MODEL_SECONDS, KERNEL_SECONDS = 1.5e-3, 1.0e-3
PIXELS, SQUARED_COUNTS = 8292, 4.0e6  # of those data; the kernel's work goes with the sum of squared counts
GUIDE_SECONDS = 1.0e-3  # of a step, per particle: the flow, its densities and the optimiser
COPY_SECONDS = 55.0  # learning and sampling a copy of 37 parameters, on two cores
START_SECONDS = 30.0  # building and compiling, which members of one structure do once in a process: an upper limit
CLIMB = 150  # gradients of one climb to the best point
FINAL = 3000  # evaluations after the fit: weights, predictive densities


def gradient_seconds(pixels: Observation, *, points: bool) -> float:
    """Time of one value and gradient of the log density on one core [s]."""
    share = pixels.n_pixels / PIXELS
    squares = float((pixels.counts.astype(np.float64) ** 2).sum()) / SQUARED_COUNTS
    return MODEL_SECONDS * share + (KERNEL_SECONDS * squares if points else 0.0)


def climbing_seconds(climbs: int, pixels: Observation, *, points: bool) -> float:
    """Time of so many climbs to a maximum of the likelihood on one core [s]; see `gradient_seconds`."""
    return round(START_SECONDS + climbs * CLIMB * gradient_seconds(pixels, points=points), 1)


def gradients(settings: Settings, n_parameters: int) -> float:
    """Gradients of the log density that a fit asks for."""
    climbs = N_STARTS * CLIMB + 2 * n_parameters
    return climbs + METHODS[settings.method].gradients(settings.resolved()) + FINAL


def estimated_seconds(settings: Settings, pixels: Observation, n_parameters: int, *, points: bool) -> float:
    """Time of one fit on one core [s].

    Args:
        settings: of the fit.
        pixels: of its region.
        n_parameters: dimension of its latent space.
        points: whether its model has point sources.
    """
    used = settings.resolved()
    guide = used["steps"] * used["particles"] * GUIDE_SECONDS if "guide" in used else 0.0
    copy = COPY_SECONDS if settings.method in (Emulator.name, Auto.name) or used.get("emulator") else 0.0
    work = gradients(settings, n_parameters) * gradient_seconds(pixels, points=points)
    return round(START_SECONDS + guide + copy + work, 1)
