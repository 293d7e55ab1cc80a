"""A guide as a fit left it: a density in closed form, which is kept with the draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.coordinates import flux_coordinates, latent_coordinates
from gammasky.engine.infer.guide_draws import GuideDraws
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.guides.guide import SIZE

if TYPE_CHECKING:
    from xarray import Dataset

    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
_COORDINATES = {"flux": flux_coordinates, "latent": lambda _: latent_coordinates()}


class FittedGuide:
    """The density of a guide on the latent space of its model: it costs no likelihood to draw from or to evaluate.

    Args:
        model: the model that it was fitted to.
        name: of the guide: flow, iaf, mvn or diagonal.
        size: `layers` and `width` of a flow; those of a guide without layers are None.
        coordinates: "flux" or "latent": what it is a density of, before it is taken to the latent space.
        arrays: its parameters and its frame, by their place in the guide.

    Raises:
        InputError: arrays that are not those of such a guide.
    """

    def __init__(
        self,
        model: Density,
        name: str,
        size: Mapping[str, int | None],
        coordinates: str,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self.name, self.size, self.coordinates = name, {key: size.get(key) for key in SIZE}, coordinates
        self.arrays = dict(arrays)
        self._model = model
        self._family = GUIDES[name].sized(model.n_latent, self.size)
        self._parameters = self._tree()

    @classmethod
    def of(
        cls, model: Density, settings: Mapping[str, Any], coordinates: str, parameters: Any, frame: Any
    ) -> FittedGuide:
        """The guide of a fit with those settings, as its parameters and its frame are now."""
        return cls(
            model, settings["guide"], settings, coordinates, _by_place({"parameters": parameters, "frame": frame})
        )

    def draw(self, n: int, seed: int = 0) -> tuple[Floats, Floats]:
        """`n` new draws z (n, D) on the latent space, and the log density (n,) of the guide at each.

        The posterior of a fit is these draws with weights: see `log_guide` in its `sample_stats`.
        """
        z, log_density, _ = self._draws(seed).draw(*self._parameters, n)
        return z, log_density

    def log_density(self, z: ArrayLike) -> Floats:
        """The log density (n,) of the guide at points z (n, D) of the latent space.

        Raises:
            InputError: points of another dimension, or a guide that knows its density at its own draws alone.
        """
        points = np.asarray(z, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self._model.n_latent:
            raise InputError(f"z: expected shape (n, {self._model.n_latent}), got {points.shape}")
        found = self._draws(0).log_density(*self._parameters, points)
        if found is None:
            raise InputError(f"guide {self.name}: it knows its density at its own draws alone; take the guide flow")
        return found

    def _draws(self, seed: int) -> GuideDraws:
        shape = (self.name, *self.size.values())
        coordinates = _COORDINATES[self.coordinates](self._model)
        return GuideDraws(self._model, shape, self._family, coordinates, jax.random.key(seed))

    def _tree(self) -> tuple[Any, Any]:
        """Parameters and frame in double precision, in the structure that the guide gives them."""
        size = self._model.n_latent
        frame = {
            "centre": jax.ShapeDtypeStruct((size,), float),
            "scale_tril": jax.ShapeDtypeStruct((size, size), float),
        }
        like = {"parameters": jax.eval_shape(self._family.init, frame, jax.random.key(0)), "frame": frame}
        expected = {name: tuple(leaf.shape) for name, leaf in _by_place(like).items()}
        got = {name: np.shape(values) for name, values in self.arrays.items()}
        if got != expected:
            raise InputError(
                f"guide {self.name}: expected the arrays of {self._sized()} over {size} numbers, got others; the file "
                "is damaged, or of another version: run the fit again"
            )
        leaves = [np.asarray(self.arrays[name], dtype=np.float64) for name in expected]
        tree = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return tree["parameters"], tree["frame"]

    def _sized(self) -> str:
        sizes = [
            f"{value} {name}" if name == "layers" else f"{name} {value}" for name, value in self.size.items() if value
        ]
        return f"a guide of {', '.join(sizes)}" if sizes else "such a guide"

    def __repr__(self) -> str:
        numbers = sum(np.size(values) for values in self.arrays.values())
        return f"<FittedGuide {self.name}, {numbers:,} numbers: a density over {self._model.n_latent} numbers>"


def guide_group(guide: FittedGuide) -> Dataset:
    """What a posterior file keeps of a guide."""
    import xarray

    variables = {
        name: ([f"{name}_{axis}" for axis in range(np.ndim(values))], np.asarray(values))
        for name, values in guide.arrays.items()
    }
    about = {"guide": guide.name, "in_coordinates": guide.coordinates}
    return xarray.Dataset(variables, attrs=about | {name: value for name, value in guide.size.items() if value})


def guide_from(group: Dataset, model: Density) -> FittedGuide:
    """The guide that a posterior file of this model keeps.

    Raises:
        InputError: a group that is damaged, or of another version.
    """
    name, coordinates = group.attrs.get("guide"), group.attrs.get("in_coordinates")
    if name not in GUIDES or coordinates not in _COORDINATES:
        raise InputError(f"guide {name!r:.60} in {coordinates!r:.60} coordinates: not known here; run the fit again")
    size = {key: int(group.attrs[key]) for key in SIZE if key in group.attrs}
    return FittedGuide(model, name, size, coordinates, {str(key): part.values for key, part in group.data_vars.items()})


def _by_place(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by where they are in it, as text."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"_".join(_key(part) for part in path): leaf for path, leaf in paths}


def _key(part: Any) -> str:
    return str(next(getattr(part, name) for name in ("key", "idx", "name") if hasattr(part, name)))
