"""Derived numbers: what their prior says beside their posterior."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION, QUOTED
from gammasky.engine.infer.figures.prior import drawing, panel_of_draws
from gammasky.engine.infer.report.fit_folder import FitFolder

_CALLED = {FLUX: "flux ({})", **QUOTED}


def derived_panels(fit: FitFolder, kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Drawings of prior against posterior, one for every derived number of these kinds, such as `FLUX`; none where a
    file of an older version holds no draws from the prior."""
    posterior, columns, drawn = fit.posterior, fit.posterior.columns(), []
    for kind in kinds:
        limits = (0.0, 1.0) if kind == POINT_SOURCE_FRACTION else None
        for name in posterior.elements.get(kind, ()):
            prior, entry = posterior.prior.get(f"{kind}[{name}]"), fit.summary.get(kind, {}).get(name, {})
            if prior is not None:
                unit = "" if entry.get("unit") == "1" else str(entry.get("unit", ""))
                draws = columns[f"{kind}[{name}]"]
                drawn.append(
                    drawing(panel_of_draws(_CALLED[kind].format(name), unit, prior, draws, entry.get("truth"), limits))
                )
    return drawn
