"""The engine: photon counts in, posteriors out. Knows nothing of campaigns or studies.

The differentiable operations below are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gammasky.engine.kernels.bar.op import triaxial_bar
    from gammasky.engine.kernels.nptf.op import nptf_log_likelihood
    from gammasky.engine.kernels.poisson.op import poisson_log_likelihood
    from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared

__all__ = ["lorimer_disk", "nfw_squared", "nptf_log_likelihood", "poisson_log_likelihood", "triaxial_bar"]

_HOMES = {
    "nptf_log_likelihood": "gammasky.engine.kernels.nptf.op",
    "poisson_log_likelihood": "gammasky.engine.kernels.poisson.op",
    "nfw_squared": "gammasky.engine.kernels.profiles.op",
    "lorimer_disk": "gammasky.engine.kernels.profiles.op",
    "triaxial_bar": "gammasky.engine.kernels.bar.op",
}


def __getattr__(name: str) -> Any:
    """Import an operation on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gammasky.engine' has no attribute '{name}' (operations: {', '.join(__all__)})")
    return getattr(import_module(_HOMES[name]), name)
