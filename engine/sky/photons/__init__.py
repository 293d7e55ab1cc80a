"""Photon lists of the mission (FT1): read in blocks, cut, and binned to pixels and energies."""

from gammasky.engine.sky.photons.binning import BinnedPhotons, PartOfSky, bin_photons
from gammasky.engine.sky.photons.cuts import PhotonCuts
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.photon_list import PhotonList
from gammasky.engine.sky.photons.selection import Selection

__all__ = [
    "BinnedPhotons",
    "Intervals",
    "PartOfSky",
    "PhotonCuts",
    "PhotonList",
    "Selection",
    "bin_photons",
]
