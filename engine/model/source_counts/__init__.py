"""Source-count functions dN/dS, one file for each kind; the imports below register them."""

from gammasky.engine.model.source_counts.base import SOURCE_COUNTS, AnySourceCounts, Limits, SourceCounts
from gammasky.engine.model.source_counts.broken_power_law import BrokenPowerLaw, absolute_breaks, broken_power_law
from gammasky.engine.model.source_counts.free_form import FreeSourceCounts, free_form, spline_matrix

__all__ = [
    "SOURCE_COUNTS",
    "AnySourceCounts",
    "BrokenPowerLaw",
    "FreeSourceCounts",
    "Limits",
    "SourceCounts",
    "absolute_breaks",
    "broken_power_law",
    "free_form",
    "spline_matrix",
]
