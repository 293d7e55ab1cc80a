"""Integrals over energy of what is known at some energies, and follows a power law between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gammasky.engine.errors import InputError

TOLERANCE = 1e-3  # relative: files hold energies in single precision


def integral_in_bins(energies: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Integral of a function over each bin: a power law between nodes (a straight line where one of them is zero).

    Args:
        energies (N,): rising nodes.
        values (N, ...): the function there, not negative or NaN.
        edges (E + 1,): rising edges of the bins, within the nodes (`require_cover`); what lies beyond the first or the
            last node, by rounding or by wish, follows the power law of the segment beside it.

    Returns:
        (E, ...), in the unit of `values` times that of `energies`.
    """
    energies, edges = np.asarray(energies, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    sums = np.zeros((len(edges) - 1, *np.shape(values)[1:]))
    inner = energies[1:-1]
    for number, (low, high) in enumerate(pairwise(edges)):
        cuts = np.array([low, *inner[(inner > low) & (inner < high)], high])
        for start, stop in pairwise(cuts):
            segment = int(np.clip(np.searchsorted(energies, np.sqrt(start * stop)) - 1, 0, len(energies) - 2))
            sums[number] += _piece(energies[segment : segment + 2], values[segment], values[segment + 1], start, stop)
    return sums


def intensity_in_bins(
    energies_gev: np.ndarray, intensity: np.ndarray, edges_gev: Sequence[float] | np.ndarray, label: str,
    extrapolate: bool,
) -> np.ndarray:  # fmt: skip
    """Intensity (E, ...) [cm^-2 s^-1 sr^-1] of bins, from that per MeV at energies (N, ...) of a file.

    Args:
        energies_gev (N,), intensity (N, ...) [cm^-2 s^-1 sr^-1 MeV^-1], edges_gev (E + 1,): as for `integral_in_bins`.
        label: how errors name the file.
        extrapolate: go on with the power law between the last two (or the first two) energies.

    Raises:
        InputError: a bin that the energies do not cover.
    """
    edges = np.asarray(edges_gev, dtype=np.float64)
    if not extrapolate:
        require_cover(energies_gev, edges, label, or_else=", or say `extrapolate = true`")
    return 1e3 * integral_in_bins(energies_gev, intensity, edges)


def weighted_mean(energies: np.ndarray, values: np.ndarray, edges: np.ndarray, index: float) -> np.ndarray:
    """Mean over each bin with the weight of a spectrum E^-index: int v(E) E^-index dE / int E^-index dE.

    Args:
        energies (N,), values (N, ...), edges (E + 1,): as for `integral_in_bins`.
        index: slope of the photon spectrum.
    """
    nodes = np.asarray(energies, dtype=np.float64)
    spectrum = (nodes / nodes[0]) ** -index
    shape = (len(nodes), *(1,) * (np.ndim(values) - 1))
    weight = integral_in_bins(nodes, spectrum, edges)
    return integral_in_bins(nodes, values * spectrum.reshape(shape), edges) / weight.reshape(-1, *shape[1:])


def require_cover(
    energies: Sequence[float] | np.ndarray, edges: Sequence[float] | np.ndarray, label: str, or_else: str = ""
) -> None:
    """Refuse energies [GeV] of a file that do not reach over all bins; `or_else` is another remedy.

    Raises:
        InputError: names the first bin that is not covered, and the unit that was mixed up where this is likely.
    """
    low, high = float(energies[0]) * (1 - TOLERANCE), float(energies[-1]) * (1 + TOLERANCE)
    for first, last in pairwise(edges):
        if first < low or last > high:
            raise InputError(
                f"{label}: its energies, {energies[0]:g} to {energies[-1]:g} GeV, do not cover the bin {first:g} to "
                f"{last:g} GeV{_mixed_up(energies, edges, or_else)}"
            )


def _mixed_up(energies: Sequence[float] | np.ndarray, edges: Sequence[float] | np.ndarray, or_else: str) -> str:
    """A remedy: of a unit that was taken for another, or of other bins."""
    for factor, taken in ((1e-3, "1000 times too high"), (1e3, "1000 times too low"), (1e6, "1e6 times too low"),
                          (1e-6, "1e6 times too high")):  # fmt: skip
        low, high = float(energies[0]) * factor, float(energies[-1]) * factor
        if low <= edges[0] * (1 + TOLERANCE) and high >= edges[-1] * (1 - TOLERANCE):
            return f"; they look {taken}: keV, MeV and GeV mixed up? Correct the unit in the file"
    return f"; choose bins that it covers{or_else}"


def _piece(nodes: np.ndarray, left: np.ndarray, right: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Integral from `start` to `stop` of the power law through (nodes[0], left) and (nodes[1], right)."""
    from scipy.special import exprel

    left, right = (np.asarray(value, dtype=np.float64) for value in (left, right))
    positive = (left > 0) & (right > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.log(right / left) / np.log(nodes[1] / nodes[0])
        at_start = left * np.exp(slope * np.log(start / nodes[0]))
        span = np.log(stop / start)
        law = at_start * start * span * exprel((slope + 1) * span)
    share = ((start + stop) / 2 - nodes[0]) / (nodes[1] - nodes[0])
    line = np.maximum(left + share * (right - left), 0.0) * (stop - start)
    return np.where(positive, law, line)
