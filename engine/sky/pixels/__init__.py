"""Pixels of the sky: HEALPix or a projected grid; where they are, how large, and which holds a place."""

from gammasky.engine.sky.pixels.frames import Frame, rotated
from gammasky.engine.sky.pixels.healpix import HealpixPixels
from gammasky.engine.sky.pixels.projected import ProjectedPixels

Pixels = HealpixPixels | ProjectedPixels

__all__ = ["Frame", "HealpixPixels", "Pixels", "ProjectedPixels", "rotated"]
