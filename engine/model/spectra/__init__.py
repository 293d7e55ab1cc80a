"""Photon spectra, one file for each kind; the imports below register them."""

from gammasky.engine.model.spectra.base import SPECTRA, AnySpectrum, Spectrum

from gammasky.engine.model.spectra.power_law import PowerLaw  # isort: skip
from gammasky.engine.model.spectra.log_parabola import LogParabola  # isort: skip
from gammasky.engine.model.spectra.cutoff_power_law import CutoffPowerLaw  # isort: skip
from gammasky.engine.model.spectra.broken_power_law import BrokenSpectrum  # isort: skip
from gammasky.engine.model.spectra.table import TableSpectrum  # isort: skip
from gammasky.engine.model.spectra.free import FreeSpectrum  # isort: skip

__all__ = [
    "SPECTRA",
    "AnySpectrum",
    "BrokenSpectrum",
    "CutoffPowerLaw",
    "FreeSpectrum",
    "LogParabola",
    "PowerLaw",
    "Spectrum",
    "TableSpectrum",
]
