"""Inference: optimisation, Laplace, guides, variational fits, posterior files and figures.

The names below are imported when first used: what describes methods and their settings loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gammasky.engine.infer.optimise import Laplace, laplace
    from gammasky.engine.infer.posterior import read_posterior, write_posterior
    from gammasky.engine.infer.result import Fit
    from gammasky.engine.infer.run import fit
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.infer.svi import VariationalFit

__all__ = ["Fit", "Laplace", "Settings", "VariationalFit", "fit", "laplace", "read_posterior", "write_posterior"]

_HOMES = {
    "Fit": "result", "Laplace": "optimise", "Settings": "settings", "VariationalFit": "svi", "fit": "run",
    "laplace": "optimise", "read_posterior": "posterior", "write_posterior": "posterior",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}' (public names: {', '.join(__all__)})")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
