"""From photon lists, spacecraft and response files, or from cubes, to a data folder: `gammasky data build`."""

from gammasky.engine.sky.recipes.folder import build
from gammasky.engine.sky.recipes.recipe import Recipe, read_recipe, recipe_of

__all__ = ["Recipe", "build", "read_recipe", "recipe_of"]
