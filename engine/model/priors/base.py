"""What every prior is: a quantile function on the scale of a standard normal, theta = F^-1(Phi(z)), z ~ N(0, 1).

On this scale a direction that the data do not inform is exactly standard normal, whatever its prior.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, SerializeAsAny
from scipy import special

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.model.registry import Registry
from gammasky.engine.model.values import Parameters, Use
from gammasky.engine.sky.schema import Schema

Floats = NDArray[np.float64]
ROUNDING = 1e-12  # a draw of a log-uniform prior may be beyond its limit by the last digit


class PriorKind(Schema):
    """Base of all priors.

    Args:
        prior: the word for its kind.
        unit: unit of the parameter, for tables and figures.
        label: how figures name the parameter, in LaTeX; its name where none is given.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    kind: ClassVar[str]
    citations: ClassVar[tuple[Citation, ...]] = ()

    prior: str
    unit: str = ""
    label: str = ""

    def in_words(self) -> str:
        """Kind and numbers, such as uniform(low=0.1, high=2.5)."""
        settings = self.model_dump(exclude={"prior", "unit", "label"}, exclude_none=True)
        return f"{self.prior}({', '.join(f'{name}={value}' for name, value in settings.items())})"

    @abstractmethod
    def latent_size(self, n_elements: int) -> int:
        """How many entries of z a parameter of `n_elements` elements takes (0 elements: a single number)."""

    @classmethod
    @abstractmethod
    def tables(cls, slots: Sequence[Slot]) -> Any:
        """The numbers of all parameters with such a prior, as arrays that compiled programs take as an argument."""

    @classmethod
    @abstractmethod
    def values(cls, tables: Any, z: jax.Array, slots: Sequence[Slot]) -> Parameters:
        """These parameters, from their part of z: the slots lie in it one behind the other."""

    @abstractmethod
    def support(self) -> tuple[float, float]:
        """The limits of the parameter."""

    def box(self, n_elements: int) -> tuple[float, float]:
        """The limits, of each, of the coordinates that `in_box` takes; infinite where there is none.

        Latent coordinates are no good for a maximum of the likelihood: where it lies at the end of a support they run
        off to infinity. Those of a box end there.
        """
        del n_elements
        return -math.inf, math.inf

    @classmethod
    def in_box(cls, tables: Any, x: jax.Array, slots: Sequence[Slot]) -> Parameters:
        """These parameters, from their part of the coordinates in a box, as many as latent ones; here they are z."""
        return cls.values(tables, x, slots)

    @abstractmethod
    def to_box(self, value: Floats) -> Floats:
        """The coordinates in the box (n_latent,) of a value () or (n,); of one beyond the support, outside the box."""

    @abstractmethod
    def cumulative(self, x: Floats, element: int = 0, n_elements: int = 1) -> Floats:
        """The distribution function at x, of one element of `n_elements`."""

    def shown(self, element: int = 0, n_elements: int = 1) -> tuple[float, float]:
        """The limits of an axis for one element; three standard deviations where the support has no end."""
        del element, n_elements
        return self.support()

    def require_fit(self, name: str, use: Use) -> None:
        """Refuse a place that this prior does not fit.

        Raises:
            InputError: names the parameter, the place and the reason.
        """
        low, high = self.support()
        if low < use.least:
            raise InputError(
                f"prior of '{name}': {use.what} must be at least {use.least:g}, its prior starts at {low:g}"
            )
        if high > use.most:
            raise InputError(f"prior of '{name}': {use.what} must be at most {use.most:g}, its prior ends at {high:g}")

    def require_possible(self, name: str, value: Floats) -> None:
        """Refuse values that make no sense whatever the numbers of the prior.

        Raises:
            InputError: names the parameter and the value.
        """
        del name, value

    def require_inside(self, name: str, value: Floats) -> None:
        """Refuse values that the prior excludes.

        Raises:
            InputError: names the parameter, the limits and the value.
        """
        low, high = self.support()
        values = np.atleast_1d(value)
        inside = (values >= low - ROUNDING * abs(low)) & (values <= high + ROUNDING * abs(high))
        if not inside.all():
            raise InputError(
                f"parameter '{name}': expected a value inside its prior, {low:g} to {high:g}, got "
                f"{values[~inside][0]:g}; change it, or the prior in the model file"
            )


@dataclass(frozen=True)
class Slot:
    """Where one parameter lies in z: `labels` names its elements, () for a single number; those of a `block` are many
    and shown together, never one by one."""

    name: str
    prior: Any
    labels: tuple[str, ...]
    start: int
    block: bool = False

    @property
    def n_latent(self) -> int:
        """Entries of z that the parameter takes."""
        return int(self.prior.latent_size(len(self.labels)))

    @property
    def names(self) -> list[str]:
        """Names of its elements as tables show them, name[element]; of a block none."""
        if self.block:
            return []
        return [f"{self.name}[{label}]" for label in self.labels] or [self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter: () or (n,)."""
        return (len(self.labels),) if self.labels else ()


class ScalarPrior(PriorKind):
    """A prior of a single number, or of the elements of a vector, each on its own; all of a kind are one operation."""

    @abstractmethod
    def numbers(self) -> tuple[float, float]:
        """The two numbers that `quantile` takes."""

    @staticmethod
    @abstractmethod
    def quantile(z: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """The parameter at latent z: F^-1(Phi(z)) with the distribution function F."""

    def latent_size(self, n_elements: int) -> int:
        return max(n_elements, 1)

    @classmethod
    def tables(cls, slots: Sequence[Slot]) -> Floats:
        return np.array([slot.prior.numbers() for slot in slots for _ in range(slot.n_latent)]).T

    @classmethod
    def values(cls, tables: Any, z: jax.Array, slots: Sequence[Slot]) -> Parameters:
        return cls._each(cls.quantile(z, *tables), slots)

    @staticmethod
    def _each(values: jax.Array, slots: Sequence[Slot]) -> Parameters:
        """Those of each parameter, of the values of all."""
        # split: in the reverse pass its parts are put together at once, where those of slices are added up
        parts = jax.lax.split(values, [slot.n_latent for slot in slots])
        return {slot.name: part if slot.labels else part.reshape(()) for slot, part in zip(slots, parts, strict=True)}

    @classmethod
    def from_box(cls, x: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """The parameter at a coordinate in the box."""
        return cls.quantile(x, first, second)

    @classmethod
    def in_box(cls, tables: Any, x: jax.Array, slots: Sequence[Slot]) -> Parameters:
        return cls._each(cls.from_box(x, *tables), slots)

    def to_box(self, value: Floats) -> Floats:
        return np.atleast_1d(special.ndtri(self.mass(np.asarray(value, dtype=np.float64))))

    def require_fit(self, name: str, use: Use) -> None:
        super().require_fit(name, use)
        if not use.shares:
            return
        if len(use.elements) != 2:
            raise InputError(f"{use.where}: fractions '{name}' of {len(use.elements)} templates need a dirichlet prior")
        low, high = self.support()
        if low < 0 or high > 1:
            raise InputError(f"prior of '{name}': a share must lie in 0 to 1, got {low:g} to {high:g}")

    def mass(self, x: Floats) -> Floats:
        """The distribution function of a single number at x, by bisection of the quantile function."""
        low, high = np.full(np.shape(x), -12.0), np.full(np.shape(x), 12.0)
        first, second = (jnp.asarray(number) for number in self.numbers())
        for _ in range(50):
            middle = 0.5 * (low + high)
            above = np.asarray(self.quantile(jnp.asarray(middle), first, second)) > x
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(jax.scipy.special.ndtr(jnp.asarray(0.5 * (low + high))))

    def cumulative(self, x: Floats, element: int = 0, n_elements: int = 1) -> Floats:
        del element, n_elements
        return self.mass(np.asarray(x, dtype=np.float64))


PRIORS: Registry[type[PriorKind]] = Registry("prior")
Prior = Annotated[SerializeAsAny[PriorKind], BeforeValidator(PRIORS.described)]
