"""Names of the diagnostics, what they mean in plain words, and how many digits of them are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.infer.report.html import Cell
from gammasky.engine.infer.report.numbers import number

DIAGNOSTICS = {
    "result": ("the draws are those of", ""),
    "elbo": ("ELBO", "nat; a lower bound of log Z"),
    "log_z": ("log evidence log Z", "nat; between two models of the same counts it differs by the log Bayes factor"),
    "laplace_log_evidence": ("log evidence by Laplace's method", "nat; exact only for a Gaussian posterior"),
    "k_hat": ("Pareto k-hat of the importance weights", "above 0.7 a few draws outweigh all others"),
    "ess": ("effective sample size of the weighted draws", "as many independent draws would say as much"),
    "efficiency": ("importance efficiency", "effective draws per draw; 1 if the guide is the posterior"),
    "r_hat_max": ("largest R-hat", "scatter of all chains over that of each; below 1.01 they agree"),
    "ess_bulk_min": ("smallest effective sample size", "for means and medians; at least 400"),
    "ess_tail_min": ("smallest effective sample size of the tails", "for 5 and 95 % quantiles; at least 400"),
    "slowest": ("the number that mixes slowest", "has the smallest effective sample size"),
    "divergent": ("divergent trajectories", "the integrator lost its way: draws there may be missing; below 0.5 %"),
    "leapfrogs": ("leapfrogs per trajectory", "mean; many mean a narrow or curved posterior"),
    "step_size": ("step size", "in units of the mass matrix, as tuned"),
    "coverage": ("log of the mean of copy / truth", "over chains on the likelihood; 0 where the copy misses nothing"),
    "missed": ("share of places that the copy misses", "of chains on the likelihood; it is low there by 3 nat"),
    "guide_coverage": ("log of the mean of guide / posterior", "over the copy's draws, weighted; 0: it misses nothing"),
    "guide_missed": (
        "share of the posterior that the guide misses",
        "it is low there by 3 nat; weights make up for it",
    ),
    "gradients": ("gradients", "evaluations of the likelihood with its derivative, in all"),
}
ERRORS = {
    "elbo": "elbo_error",
    "log_z": "log_z_error",
    "coverage": "coverage_error",
    "guide_coverage": "guide_coverage_error",
}
_NAT = 0.1  # differences of that many nat matter
_SPREADS = {
    **dict.fromkeys(("elbo", "elbo_error", "log_z", "log_z_error"), _NAT),
    **dict.fromkeys(("laplace_log_density", "laplace_log_evidence", "log_density"), _NAT),
    **dict.fromkeys(("ess", "ess_bulk_min", "ess_tail_min", "fit_seconds", "wall_seconds"), 10.0),
    **dict.fromkeys(("k_hat", "efficiency"), 0.1),
    "r_hat_max": 0.01,
}
_SHARES = {"divergent": 2, "missed": 1, "guide_missed": 1}  # shown in per cent, with that many decimals


def figure(name: str, value: Any) -> str:
    """A diagnostic with the digits that matter."""
    if name in _SHARES and isinstance(value, int | float):
        return f"{100 * value:.{_SHARES[name]}f} %"
    return number(value, _SPREADS.get(name))


def with_error(name: str, numbers: Mapping[str, Any]) -> Cell:
    """A diagnostic and its standard error, where it has one, with the digits that the error leaves."""
    error = numbers.get(ERRORS.get(name, ""))
    if not isinstance(error, int | float) or not error > 0:
        return Cell(figure(name, numbers[name]))
    spread = min(error, _NAT)
    return Cell(number(numbers[name], spread), f"± {number(error, spread)}")
