"""What a test of a nested model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gammasky.analyses.nested.statistics import require_enough
from gammasky.analyses.sky_study import SkyStudy
from gammasky.engine.infer.maximum.null import Null, read_null
from gammasky.engine.model import SkyModel


@dataclass(frozen=True)
class NestedStudy(SkyStudy):
    """A model against one that is nested in it.

    Attributes:
        null: conditions that hold together: "S_gce = 0", "f_bulge_ps = f_bulge_poiss", "without gce_ps".
        smallest_p: the smallest p-value that the skies must be able to give; None: whatever they can.
    """

    null: tuple[str, ...] = ()
    smallest_p: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Sequence[str] | str = self.null
        object.__setattr__(self, "null", (given,) if isinstance(given, str) else tuple(given))
        require_enough(self.skies, self.smallest_p)

    def opened(self) -> tuple[SkyModel, Null]:
        """The model on its data, and the null.

        Raises:
            InputError: one that cannot be used.
        """
        model = self.sky_model()
        return model, read_null(self.null, model)

    def about(self, model: SkyModel, null: Null) -> dict[str, Any]:
        """List what the test depends on, the number of skies apart."""
        return {**self.identity(model), "null": list(null.texts)}
