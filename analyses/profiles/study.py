"""What a profile, and limits from simulated skies, are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gammasky.analyses.sky_study import SkyStudy
from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.quantity import Quantity, read_quantity
from gammasky.engine.model import SkyModel

FEWEST_POINTS = 6


@dataclass(frozen=True)
class ProfileStudy(SkyStudy):
    """The profile likelihood of a number and, with simulated skies, intervals and limits that hold what they say.

    Attributes:
        of: the number: "S_gce", "theta_pib[Opi]", "flux[gce]", "point_source_fraction[gce]".
        skies: of each value of a parameter that is tested; 0: the profile alone.
        points: of the profile, about.
        level: of the limits.
    """

    fewest: ClassVar[int] = 0

    skies: int = 0
    of: str = ""
    points: int = 24
    level: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.points, bool) or not isinstance(self.points, int) or self.points < FEWEST_POINTS:
            raise InputError(f"`points`: expected a whole number of at least {FEWEST_POINTS}, got {self.points!r}")
        if not 0.5 < self.level < 1:
            raise InputError(f"`level`: expected a number between 0.5 and 1, got {self.level:g}")
        needed = round(1.0 / (1.0 - self.level))
        if 0 < self.skies < needed:
            raise InputError(
                f"`skies`: {self.skies} cannot tell a level of {self.level:g}, outside which 1 sky in {needed} lies; "
                f"ask for `skies={needed}` at least, better ten times as many"
            )

    def opened(self) -> tuple[SkyModel, Quantity]:
        """The model on its data, and the number.

        Raises:
            InputError: one that cannot be used.
        """
        model = self.sky_model()
        quantity = read_quantity(self.of, model)
        if self.skies and quantity.axis is None:
            raise InputError(
                f"`skies`: '{quantity.name}' is no parameter of its own, and simulated skies are drawn at values of a "
                "parameter; leave `skies` out, or make it a parameter of the model"
            )
        return model, quantity

    def about(self, model: SkyModel) -> dict[str, Any]:
        """List what the study depends on, the number of skies and the level apart."""
        return {**self.identity(model), "of": self.of, "points": self.points}
