"""Markov chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.option import Option

_LEAPFROGS = 30  # of one iteration, about


class Nuts(Method):
    """The No-U-Turn sampler, from dispersed starts."""

    name = "nuts"
    summary = "many minutes; the arbiter"
    work = "gammasky.engine.infer.stages.nuts:NutsStage"
    options: ClassVar[Mapping[str, Option]] = {
        "chains": Option(4, "chains, all in step", int, low=2),
        "warmup": Option(400, "iterations of each chain to learn from", int, low=50),
        "draws": Option(1000, "iterations of each chain to keep", int, low=50),
    }

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        return int(options["chains"] * (options["warmup"] + options["draws"]) * _LEAPFROGS)
