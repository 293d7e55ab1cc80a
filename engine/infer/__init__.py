"""Inference: optimisation, Laplace, guides, variational fits, posterior files and figures."""

from gammasky.engine.infer.optimise import Laplace, laplace
from gammasky.engine.infer.posterior import read_posterior, write_posterior
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.svi import VariationalFit

__all__ = ["Fit", "Laplace", "Settings", "VariationalFit", "fit", "laplace", "read_posterior", "write_posterior"]
