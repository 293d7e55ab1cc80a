"""Variational inference, checked by chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gammasky.engine.errors import InputError
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.option import Option


class Auto(Method):
    """svi and nuts, with the settings of both."""

    name = "auto"
    summary = "svi checked by nuts, for results to publish"
    work = "gammasky.engine.infer.stages.auto:AutoStage"
    options: ClassVar[Mapping[str, Option]] = {**Svi.options, **Nuts.options}

    @staticmethod
    def resolve(options: Mapping[str, Any]) -> dict[str, Any]:
        if not GUIDES[options["guide"]].has_density:
            known = ", ".join(name for name, guide in GUIDES.items() if guide.has_density)
            raise InputError(
                f"guide: method auto needs one whose density is known anywhere ({known}), got '{options['guide']}'"
            )
        return Svi.resolve(options)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        return Svi.gradients(options) + Nuts.gradients(options)
