"""Sky models: templates, source-count functions, priors and likelihood terms joined into one log density."""

from gammasky.engine.model.density import Density
from gammasky.engine.model.sky_model import SkyModel
from gammasky.engine.model.spec import ModelSpec, model_from_table, presets, read_model

__all__ = ["Density", "ModelSpec", "SkyModel", "model_from_table", "presets", "read_model"]
