"""Luminosity functions dN/dL, one file for each kind; the imports below register them."""

from gammasky.engine.model.luminosity.base import LUMINOSITIES, AnyLuminosity, Luminosity
from gammasky.engine.model.luminosity.broken_power_law import BrokenLuminosity
from gammasky.engine.model.luminosity.log_normal import LogNormalLuminosity

__all__ = ["LUMINOSITIES", "AnyLuminosity", "BrokenLuminosity", "LogNormalLuminosity", "Luminosity"]
