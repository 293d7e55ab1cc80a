"""The Laplace approximation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.infer.methods.method import Method


class Laplace(Method):
    """The best points, and the normal distribution about the highest."""

    name = "laplace"
    summary = "seconds"
    work = "gammasky.engine.infer.stages.laplace:LaplaceStage"

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:  # noqa: ARG004
        return 0
