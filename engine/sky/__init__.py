"""From files to flat pixels: dataset, region of interest, masks, exposure regions, PSF, response."""

from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.fetch import DatasetEntry, check, fetch, list_datasets
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixel_fractions import PixelFractions, pixel_fractions
from gammasky.engine.sky.psf import PSF, DeltaPSF, GaussianPSF, KingPSF
from gammasky.engine.sky.response import Response
from gammasky.engine.sky.roi import CatalogueDiscs, RegionOfInterest

__all__ = [
    "PSF",
    "CatalogueDiscs",
    "Dataset",
    "DatasetEntry",
    "DeltaPSF",
    "GaussianPSF",
    "KingPSF",
    "Observation",
    "PixelFractions",
    "RegionOfInterest",
    "Response",
    "check",
    "fetch",
    "list_datasets",
    "pixel_fractions",
]
