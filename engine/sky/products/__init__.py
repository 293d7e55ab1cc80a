"""What the mission's tools write: cubes of counts, exposure and intensity, point-spread functions, spectra.

Each reader is one class in one file. It says whether an open file is of its kind (`matches`), reads it from its bytes
(`read`) or from its path (`open`), and gives its numbers with their units.
"""

from gammasky.engine.sky.products.counts import CountsCube
from gammasky.engine.sky.products.diffuse import DiffuseCube
from gammasky.engine.sky.products.exposure import ExposureCube
from gammasky.engine.sky.products.isotropic import IsotropicSpectrum
from gammasky.engine.sky.products.psf_table import PSFTable

__all__ = ["CountsCube", "DiffuseCube", "ExposureCube", "IsotropicSpectrum", "PSFTable"]
