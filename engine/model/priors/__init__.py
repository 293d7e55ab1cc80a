"""Priors, one file for each kind; the imports below register them, in the order of their places in the latent space."""

from gammasky.engine.model.priors.base import PRIORS, Prior, PriorKind, ScalarPrior, Slot

from gammasky.engine.model.priors.uniform import LogUniform, Uniform  # isort: skip
from gammasky.engine.model.priors.normal import HalfNormal, Normal  # isort: skip
from gammasky.engine.model.priors.dirichlet import SUM_TOLERANCE, Dirichlet  # isort: skip
from gammasky.engine.model.priors.smooth import Smooth  # isort: skip

__all__ = [
    "PRIORS",
    "SUM_TOLERANCE",
    "Dirichlet",
    "HalfNormal",
    "LogUniform",
    "Normal",
    "Prior",
    "PriorKind",
    "ScalarPrior",
    "Slot",
    "Smooth",
    "Uniform",
]
