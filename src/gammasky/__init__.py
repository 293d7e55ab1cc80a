"""gammasky: differentiable template fits of the gamma-ray sky.

The names below are imported when first used, so that `import gammasky` and the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gammasky.analyses.ensemble.campaign import Campaign
    from gammasky.analyses.ensemble.ensemble import Ensemble
    from gammasky.analyses.nested.nested import NestedTest
    from gammasky.analyses.profiles.likelihood import ProfileLikelihood
    from gammasky.engine.infer import Settings, fit
    from gammasky.engine.infer.beside import compare
    from gammasky.engine.infer.saved import load
    from gammasky.engine.model import SkyModel
    from gammasky.engine.runtime import configure
    from gammasky.engine.sky.dataset import Dataset

__version__ = "0.1.0"

__all__ = [
    "Campaign", "Dataset", "Ensemble", "NestedTest", "ProfileLikelihood", "Settings", "SkyModel", "__version__",
    "compare", "configure", "fit", "load",
]  # fmt: skip

_HOMES = {
    "Campaign": "gammasky.analyses.ensemble.campaign",
    "Dataset": "gammasky.engine.sky.dataset",
    "Ensemble": "gammasky.analyses.ensemble.ensemble",
    "NestedTest": "gammasky.analyses.nested.nested",
    "ProfileLikelihood": "gammasky.analyses.profiles.likelihood",
    "SkyModel": "gammasky.engine.model",
    "Settings": "gammasky.engine.infer",
    "compare": "gammasky.engine.infer.beside",
    "configure": "gammasky.engine.runtime",
    "fit": "gammasky.engine.infer",
    "load": "gammasky.engine.infer.saved",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gammasky' has no attribute '{name}' (public names: {', '.join(__all__)})")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
