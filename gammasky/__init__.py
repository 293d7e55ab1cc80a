"""gammasky: differentiable template fits of the gamma-ray sky."""

__version__ = "0.1.0"
