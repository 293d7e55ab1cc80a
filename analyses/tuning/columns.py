"""The columns of a fit's row that a sweep may make small or large, or ask something of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gammasky.analyses.ensemble.quantities import QUANTITIES, STATISTICS
from gammasky.analyses.ensemble.task import DIAGNOSTICS
from gammasky.distributed.tuning.goals import Words
from gammasky.distributed.tuning.sweep_driver import WALL_SECONDS
from gammasky.engine.errors import unknown_name

GROUP = "observation"  # equal for fits of the same counts in the same pixels
_SIZES = ("elpd", "p_waic", "n_unsure", "fit_seconds", "n_pixels", "n_photons", "n_parameters", WALL_SECONDS)
COLUMNS = (*DIAGNOSTICS, *_SIZES, *(f"{name}_{statistic}" for name in QUANTITIES for statistic in STATISTICS))
#: Numbers that mean something beside those of fits of the same data only.
OF_DATA = ("elbo", "log_z", "elpd")
NOTED = ("verdict", "log_z", "ps_fraction_mean", "ps_fraction_sd", "fit_seconds")  # beside, for who looks at the study
TITLES = {
    "log_z": "log Z", "elbo": "ELBO", "k_hat": "k-hat", "fit_seconds": "seconds of the fit", "r_hat_max": "R-hat",
    WALL_SECONDS: "seconds in all", "n_photons": "photons", "n_pixels": "pixels", "n_parameters": "parameters",
}  # fmt: skip
FACTS = {"reliable": ("verdict", "reliable")}


def column_of(name: str) -> str:
    """The column of a name: its own, or of a quantity its mean over the draws.

    Raises:
        InputError: there is none, with the nearest match.
    """
    if name in QUANTITIES:
        return f"{name}_mean"
    if name not in COLUMNS:
        raise unknown_name("column", name, [*QUANTITIES, *COLUMNS])
    return name


def title_of(column: str) -> str:
    """What a column is, and its unit, for figures and tables."""
    quantity, _, statistic = column.rpartition("_")
    if quantity in QUANTITIES and statistic in STATISTICS:
        text, unit = QUANTITIES[quantity]
        of = "" if statistic == "mean" else f", {statistic}"
        return f"{text}{of}" + (f" [{unit}]" if unit else "")
    return TITLES.get(column, column)


WORDS = Words(column_of, FACTS, GROUP)


def error_of(row: Mapping[str, Any], column: str) -> float:
    """The numerical error of a number of a fit; NaN where none is known.

    Of a mean over draws it is sd / sqrt(n), with the effective number n of draws: of chains the smallest of any number
    that is quoted, else that of the importance weights. It says how far the number would move with another seed; the
    posterior's own width is `<quantity>_sd`.
    """
    quantity, _, statistic = column.rpartition("_")
    if statistic == "mean" and quantity in QUANTITIES:
        n = row.get("ess_bulk_min" if "ess_bulk_min" in row else "ess", math.nan)
        return float(row.get(f"{quantity}_sd", math.nan)) / math.sqrt(n) if n > 0 else math.nan
    return float(row.get(f"{column}_error", math.nan))
