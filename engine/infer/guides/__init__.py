"""Families of densities that a variational fit chooses from, one file each.

Each starts on a frame, x = centre + L u, u ~ N(0, 1)^D. A new one is one class and its name in the list below.
"""

from gammasky.engine.infer.guides.diagonal import Diagonal
from gammasky.engine.infer.guides.flow import Flow
from gammasky.engine.infer.guides.guide import Family, Guide
from gammasky.engine.infer.guides.iaf import Iaf
from gammasky.engine.infer.guides.mvn import Mvn

__all__ = ["GUIDES", "Family", "Guide"]

GUIDES: dict[str, type[Guide]] = {guide.name: guide for guide in (Flow, Iaf, Mvn, Diagonal)}
