"""The section of fields: maps, power by the length of waves, amplitude and length with their priors."""

from __future__ import annotations

import numpy as np

from gammasky.engine.infer.derived import FIELD_SD
from gammasky.engine.infer.figures.prior import drawing, panel
from gammasky.engine.infer.report.derived import derived_panels
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Section, Table
from gammasky.engine.infer.report.numbers import described, number
from gammasky.engine.infer.report.sky import saved_figure

MAPS = "Posterior mean and standard deviation of each field: by how much it raises its templates, in per cent."
INTERVALS = ("median", "68 %", "90 %")


def fields(fit: FitFolder) -> Section | None:
    """One line for each field, its maps and its power; nothing of single coefficients."""
    found, columns = fit.posterior.fields, fit.posterior.columns()
    if found is None:
        return None
    names = [str(name) for name in found["field"].values]
    owners = dict(zip(names, (str(owner) for owner in found["field_components"].values), strict=True))
    rows = [
        [name, owners[name], *described(fit.summary.get(FIELD_SD, {}).get(name, {})), number(_largest(found, row), 0.1)]
        for row, name in enumerate(names)
    ]
    panels = derived_panels(fit, [FIELD_SD])
    panels += [
        drawing(panel(name, fit.posterior.spec.parameters[name], columns[name])) for name in _shape_parameters(fit)
    ]
    values = {
        "table": Table(["field", "on", *INTERVALS, "largest mean, %"], rows, "Standard deviation of g over the region",
                       words=2),
        "picture": saved_figure(fit, "fields", "maps of the fields", MAPS, wide=True),
        "power": Table(["field", "waves", "median", "68 %", "by its prior"], _power(found, names),
                       "Variance of g by the length of its waves", words=2),
        "panels": panels,
    }  # fmt: skip
    return Section("fields", "Fields on templates", values, "Fields")


def _largest(found: object, row: int) -> float:
    """The largest departure of a field's mean from the template [per cent]."""
    mean = np.asarray(found["field_mean"].values[row])  # type: ignore[index]
    return float(mean[np.argmax(np.abs(mean))])


def _power(found: object, names: list[str]) -> list[list[str]]:
    rows = []
    power, prior = (found[key].values for key in ("field_power", "field_prior_power"))  # type: ignore[index]
    for row, name in enumerate(names):
        for band, label in enumerate(found["wavelength"].values):  # type: ignore[index]
            if prior[row, band] > 0:
                low, middle, high = (number(float(value)) for value in power[row, band])
                rows.append([name, str(label), middle, f"{low} – {high}", number(float(prior[row, band]))])
    return rows


def _shape_parameters(fit: FitFolder) -> list[str]:
    """The parameters of amplitudes, lengths and slopes of fields, each once."""
    spec = fit.posterior.spec
    uses = [use for c in spec.components for field in c.template.fields() for use in field.uses("") if not use.block]
    return list(dict.fromkeys(use.parameter for use in uses))
