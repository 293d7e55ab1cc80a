"""Sections of a study's page about its posteriors: beside the paper, source counts, sensitivity to priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.studies.draws import MemberDraws, Scales
from gammasky.analyses.studies.study import Study
from gammasky.engine.infer.figures.compare import Curve, draw_dnds
from gammasky.engine.infer.figures.style import save, styled
from gammasky.engine.infer.report.html import Section, Table, picture
from gammasky.engine.infer.report.numbers import ABSENT, described, number
from gammasky.engine.infer.report.sources import thinned
from gammasky.engine.infer.result import log_prior
from gammasky.engine.infer.sensitivity import SENSITIVE, power_scaling
from gammasky.engine.infer.summary import described as moments
from gammasky.engine.model.populations import Populations
from gammasky.engine.model.spec import ModelSpec

Floats = NDArray[np.float64]
SOURCE_COUNTS = "source_counts.png"
MOST_PANELS = 6
LIKELIHOOD, PRIORS, SOURCE_PRIORS = "likelihood", "priors", "source_priors"
_PARTS = {LIKELIHOOD: "likelihood", PRIORS: "all priors", SOURCE_PRIORS: "priors of source counts"}
_SHOWN = ("ps_fraction", "excess_flux", "gamma", "gamma_ps", "f_bulge", "f_bulge_ps")


def beside_the_paper(study: Study, members: Mapping[str, MemberDraws], scales: Mapping[str, Scales]) -> Section:
    """The compared quantities of every member, as intensities too, and the paper's numbers as far as they are known."""
    headings = ["quantity", "median", "68 %", "intensity (10⁻⁷)", "the paper's draft"]
    tables = []
    for label, member in members.items():
        rows = [_compared(study, member, scales[label], name) for name in study.compared if name in member.numbers]
        tables.append(Table(headings, rows, label if len(members) > 1 else ""))
    return Section("paper", "Beside the paper", {"tables": tables, "published": study.published})


def _compared(study: Study, member: MemberDraws, scale: Scales, name: str) -> list[str]:
    """One line: the name and unit, median and 68 % interval, intensity of a norm, and what the paper says."""
    entry, known = moments(member.numbers[name]), study.published.get(name)
    unit = member.spec.parameters[name].unit if name in member.spec.parameters else ""
    per = None if scale.intensity is None or name not in norms(member.spec) else 1e7 * scale.intensity
    intensity = ABSENT if per is None else number(per * entry["q50"], per * entry["sd"])
    paper = known.value if known else "not available"
    return [f"{name} [{unit}]" if unit else name, *described(entry)[:2], intensity, paper]


def compared_numbers(study: Study, member: MemberDraws) -> dict[str, float]:
    """Mean and sd of the compared parameters, `<name>` and `<name>_sd`."""
    found = {name: member.numbers[name] for name in study.compared if name in member.spec.parameters}
    return {
        f"{name}{end}": moments(draws)[key]
        for name, draws in found.items()
        for end, key in (("", "mean"), ("_sd", "sd"))
    }


def norms(spec: ModelSpec) -> set[str]:
    """Parameters that are norms of components."""
    return {component.norm for component in spec.components if isinstance(component.norm, str)}


def source_counts(members: Mapping[str, MemberDraws], scales: Mapping[str, Scales], path: Path) -> Section | None:
    """dN/dS and dN/dF of every member with point sources, as a figure at `path`."""
    shown = {label: member for label, member in members.items() if member.spec.populations}
    if any(component.luminosity is not None for member in shown.values() for component in member.spec.populations):
        return None  # dN/dS of luminosities needs the pixels, which draws do not hold
    grids = {member.spec.source_grid.in_flux for member in shown.values()}
    if not shown or len(grids) > 1:  # curves over counts and over fluxes have no axis in common
        return None
    shown, in_flux = dict(list(shown.items())[:MOST_PANELS]), grids.pop()
    panels = {label: _curves(member) for label, member in shown.items()}
    known = [scales[label] for label in shown if scales[label].exposure_cm2_s is not None]
    exposure = known[0].exposure_cm2_s if len(known) == len(shown) and not in_flux else None
    bands = {} if exposure is None else known[0].thresholds
    lines = {} if in_flux else {"1 photon": 1.0}
    with styled():
        figure = save(draw_dnds(panels, lines=lines, thresholds=bands, exposure_cm2_s=exposure, in_flux=in_flux), path)
    caption = "Median, 68 % and 95 % bands; for sources of less than about one photon the prior decides."
    if exposure is not None:
        caption += f" Fluxes at the mean exposure of the first fit, {number(exposure)} cm² s."
    if len(members) > len(shown) == MOST_PANELS:
        caption += f" The first {MOST_PANELS} fits with point sources."
    if bands:
        caption += f" Grey: where sources of {', '.join(bands)} begin to be resolved."
    shown_figure = picture(figure.read_bytes(), "dN/dS and dN/dF", caption, str(figure))
    return Section("sources", "Source counts", {"picture": shown_figure}, template="picture.html")


def _curves(member: MemberDraws) -> list[Curve]:
    populations = Populations(member.spec, member.bins)
    dnds = populations.dnds(thinned({name: member.numbers[name] for name in member.spec.parameters}))
    return [Curve(name, populations.s_grid, dnds[:, number]) for number, name in enumerate(populations.names)]


def sensitivities(member: MemberDraws) -> dict[str, dict[str, float]]:
    """Power-scaling sensitivity of the main numbers: part of the posterior -> number -> sensitivity."""
    of_sources = source_parameters(member.spec)
    main = [name for name in (*_SHOWN, *member.spec.parameters) if name in member.numbers]
    kept = {*_SHOWN, *norms(member.spec), *of_sources}
    values = {name: member.numbers[name] for name in main if name in kept and member.numbers[name].ndim == 1}
    slots = [slot for name, slot in member.latent.slots.items() if name in of_sources]
    columns = [column for slot in slots for column in range(slot.start, slot.start + slot.n_latent)]
    parts = {LIKELIHOOD: member.log_likelihood, PRIORS: log_prior(member.z)}
    if columns:
        parts[SOURCE_PRIORS] = log_prior(member.z[:, columns])
    return {part: power_scaling(values, log_factor) for part, log_factor in parts.items()}


def source_parameters(spec: ModelSpec) -> set[str]:
    """Slopes, breaks and nodes of the source-count functions, and the parameters of luminosity functions."""
    functions = [of for component in spec.populations for of in (component.source_counts, component.luminosity)]
    return {use.parameter for function in functions if function is not None for use in function.uses("")}


def power_scaled(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Section:
    """The sensitivities of every member: the point-source fraction of all, and the rest folded."""
    first = [[label, *_cells(parts, "ps_fraction")] for label, parts in found.items()]
    headings = ["number", *_PARTS.values()]
    values = {
        "limit": SENSITIVE,
        "first": Table(["fit", *_PARTS.values()], first, "Sensitivity of the point-source fraction"),
        "rest": {
            label: Table(headings, [[_title(name), *_cells(parts, name)] for name in parts[PRIORS]])
            for label, parts in found.items()
        },
    }
    return Section("sensitivity", "Sensitivity to priors", values)


def _cells(parts: Mapping[str, Mapping[str, float]], name: str) -> Sequence[str]:
    return [number(parts.get(part, {}).get(name), 0.01) for part in _PARTS]


def _title(name: str) -> str:
    return QUANTITIES[name][0] if name in QUANTITIES else name
