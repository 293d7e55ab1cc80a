"""The instrument: effective area, point-spread function, livetime, and exposure without other software."""

from gammasky.engine.sky.instrument.effective_area import EffectiveArea
from gammasky.engine.sky.instrument.energies import energy_nodes
from gammasky.engine.sky.instrument.exposure import exposure_cube, inclination_profile
from gammasky.engine.sky.instrument.king_tables import KingTables
from gammasky.engine.sky.instrument.livetime import Livetime, measure_livetime
from gammasky.engine.sky.instrument.response_psf import response_psf, uniform_inclinations
from gammasky.engine.sky.instrument.spacecraft import Spacecraft

__all__ = [
    "EffectiveArea",
    "KingTables",
    "Livetime",
    "Spacecraft",
    "energy_nodes",
    "exposure_cube",
    "inclination_profile",
    "measure_livetime",
    "response_psf",
    "uniform_inclinations",
]
