"""What a guide is: a family of densities that a variational fit chooses from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation

if TYPE_CHECKING:
    import jax

Parameters = Any
Frame = dict[str, "jax.Array"]
SIZE = ("layers", "width")  # settings of a flow


@dataclass(frozen=True)
class Family:
    """The densities of a guide over a latent space.

    Attributes:
        init: (frame, key) -> parameters, a pytree of arrays.
        sample: (parameters, frame, key) -> one draw x (D,) and its log density; differentiable in the parameters.
            `frame` is where the guide starts, see `frame_of`; it is not fitted.
        log_density: (parameters, frame, x) -> log density at any x; None for a guide that is only cheap to draw from.
        at_any_cost: the same where it is not cheap; by default `log_density`. A fit to a copy learns from draws of the
            posterior by it; of a guide that has neither it climbs the bound alone.
    """

    init: Callable[[Frame, jax.Array], Parameters]
    sample: Callable[[Parameters, Frame, jax.Array], tuple[jax.Array, jax.Array]]
    log_density: Callable[[Parameters, Frame, jax.Array], jax.Array] | None = None
    at_any_cost: Callable[[Parameters, Frame, jax.Array], jax.Array] | None = None

    def __post_init__(self) -> None:
        if self.at_any_cost is None:
            object.__setattr__(self, "at_any_cost", self.log_density)


class Guide(ABC):
    """A guide. Importing its file must be quick: what its densities need is imported by `build`.

    Attributes:
        name: as users choose it.
        learning_rate, schedule: of the optimiser, where they are not asked for.
        steps_on_copy: of a fit to the copy of a likelihood, where they are not asked for.
        windows: shares of all steps after which it begins again on the frame of its own draws.
        layers, width: of a flow, and of the networks in it, where they are not asked for; None: it has none.
        flux_coordinates: it works in coordinates of fluxes, see `coordinates`; else in those of the latent space.
        has_density: its density is cheap at any point, not at its own draws only.
        citations: the works behind it.
    """

    name: ClassVar[str]
    learning_rate: ClassVar[float] = 3e-4
    schedule: ClassVar[str] = "constant"
    steps_on_copy: ClassVar[int] = 2000
    windows: ClassVar[tuple[float, ...]] = ()
    layers: ClassVar[int | None] = None
    width: ClassVar[int | None] = None
    flux_coordinates: ClassVar[bool] = False
    has_density: ClassVar[bool] = False
    citations: ClassVar[tuple[Citation, ...]] = ()

    @staticmethod
    @abstractmethod
    def build(size: int) -> Family:
        """The family over `size` latent dimensions; a flow takes `layers` and `width`, too."""

    @classmethod
    def sized(cls, size: int, settings: Mapping[str, Any]) -> Family:
        """The family over `size` latent dimensions; a flow is as large as the settings of the fit say."""
        return cls.build(size, **{name: settings[name] for name in SIZE if cls.layers})
