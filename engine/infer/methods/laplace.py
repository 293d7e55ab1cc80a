"""The Laplace approximation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gammasky.engine.infer.methods.method import Method

if TYPE_CHECKING:
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict


class Laplace(Method):
    """The best points, and the normal distribution about the highest."""

    name = "laplace"
    summary = "seconds"
    work = "gammasky.engine.infer.stages.laplace:LaplaceStage"

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:  # noqa: ARG004
        return 0

    @staticmethod
    def verdict(weights: Importance, shifts: Mapping[str, float]) -> Verdict:
        """Judge the approximation by its importance weights and how far they move each mean [sd]."""
        from gammasky.engine.infer.verdict import verdict_on_approximation

        return verdict_on_approximation(weights, shifts)
