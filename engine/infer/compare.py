"""Compares posteriors: marginals in units of their sd, source counts, fluxes, evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from gammasky.engine.errors import InputError
from gammasky.engine.files import write_json
from gammasky.engine.folders import folder_made
from gammasky.engine.infer.derived import FLUX
from gammasky.engine.infer.outputs import POSTERIOR, SUMMARY
from gammasky.engine.infer.report.fit_folder import Posterior, read_fit, read_fit_posterior
from gammasky.engine.model.priors import LogUniform, Prior

if TYPE_CHECKING:
    from rich.table import Table

Floats = NDArray[np.float64]
RESULT = "compare.json"
_ROUNDING = 1e-12  # relative scatter of a number that does not vary
MOST_ROWS = 30  # of the table in the terminal; compare.json has all


@dataclass(frozen=True)
class Difference:
    """One marginal of two posteriors.

    Attributes:
        name: of the number; log10 of it where `log10` says so (a log-uniform prior in both).
        other: which posterior is compared with the first.
        shift: (mean of the other - mean of the first) / sd.
        sd_ratio: sd of the other over sd of the first; None where the first does not vary.
        distance: Wasserstein distance of the distributions / sd: at least |shift|, more where shapes differ.
        sd: sqrt of the mean of the two variances, the unit of both.
    """

    name: str
    other: str
    log10: bool
    shift: float
    sd_ratio: float | None
    distance: float
    sd: float


@dataclass(frozen=True)
class Comparison:
    """Posteriors beside each other.

    Attributes:
        labels: what each is called; all are compared with the first.
        differences: of the marginals, the largest distance first.
        notes: what else differs: data, model, priors.
        evidence: per posterior "elbo", "log_z" and their errors, where known.
        log_z_differences: log Z minus that of the first, and its error, infinite where one is unknown; only on the same
            counts, and where both have a log Z.
    """

    labels: tuple[str, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    evidence: dict[str, dict[str, float]]
    log_z_differences: dict[str, tuple[float, float]]


def write_comparison(paths: Sequence[Path], out: Path) -> tuple[Comparison, list[Path]]:
    """Compare fits and write compare.json, corner.png, dnds.png and fluxes.png to `out`; older ones are replaced.

    Args:
        paths: folders of fits, or their posterior files.
        out: a folder, made where there is none.

    Returns:
        the comparison, and the figures that were drawn.

    Raises:
        InputError: a fit that cannot be read, the same fit twice, or nothing in common.
    """
    from gammasky.engine.infer.figures.compare import FIGURES, save_comparison

    posteriors = read_all(paths)
    comparison = compare(posteriors)
    with folder_made(out):
        drawn = save_comparison(posteriors, out, exposure=one_sky(posteriors))
        for stale in {out / f"{name}.png" for name in FIGURES} - set(drawn):
            stale.unlink(missing_ok=True)  # of the comparison that is replaced
        write_json(out / RESULT, asdict(comparison))
    return comparison, drawn


def read_all(paths: Sequence[Path]) -> dict[str, Posterior]:
    """Read the posteriors by label: the folder's name, with as much of the path before it as tells them apart.

    Raises:
        InputError: a fit that cannot be read, fewer than two, or one given twice.
    """
    files = [path.resolve() / POSTERIOR if path.is_dir() else path.resolve() for path in paths]
    if len(files) < 2:
        raise InputError(f"compare: expected at least two fits, got {len(files)}")
    for number, file in enumerate(files):
        if file in files[:number]:
            raise InputError(f"compare: {paths[number]} is given twice; give different fits")
    parts = [file.parent.parts if file.name == POSTERIOR else file.with_suffix("").parts for file in files]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    labels = ["/".join(part[-depth:]) for part in parts]
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    return {label: _read(path) for label, path in zip(labels, paths, strict=True)}


def _read(path: Path) -> Posterior:
    """A posterior with the verdict, diagnostics and main parameters of the summary beside it."""
    if not (path / SUMMARY).is_file() or not (path / POSTERIOR).is_file():
        return read_fit_posterior(path)
    fit = read_fit(path)
    names = ("verdict", "diagnostics", "main_parameters")
    told = {name: fit.entry(name) for name in names if fit.entry(name) is not None}
    return replace(fit.posterior, attributes={**fit.posterior.attributes, **told})


def compare(posteriors: Mapping[str, Posterior]) -> Comparison:
    """Compare every posterior with the first, in the numbers that they share.

    Args:
        posteriors: by label, at least two.

    Raises:
        InputError: nothing in common.
    """
    labels = list(posteriors)
    first = posteriors[labels[0]]
    differences: list[Difference] = []
    for label in labels[1:]:
        found = _differences(first, posteriors[label], label)
        if not found:
            raise InputError(
                f"compare: '{labels[0]}' and '{label}' share no parameter, flux or point-source fraction "
                f"(models {first.spec.name} and {posteriors[label].spec.name}); compare fits of related models"
            )
        differences += found
    differences.sort(key=lambda entry: -entry.distance)
    evidence = {label: _evidence(posterior) for label, posterior in posteriors.items()}
    notes = [note for label in labels[1:] for note in _notes(labels[0], first, label, posteriors[label])]
    notes += [note for label, posterior in posteriors.items() for note in _verdict(label, posterior)]
    return Comparison(tuple(labels), tuple(differences), tuple(notes), evidence, _log_z(posteriors, evidence))


def same_counts(first: Posterior, other: Posterior) -> bool:
    """Whether two fits saw the same photons in the same pixels."""
    here, there = (posterior.pixels["healpix"].values for posterior in (first, other))
    return np.array_equal(here, there) and np.array_equal(first.counts, other.counts)


def one_sky(posteriors: Mapping[str, Posterior]) -> bool:
    """Whether all saw the same photons, at the same exposure."""
    first, *others = posteriors.values()
    return all(same_counts(first, other) for other in others)


def _differences(first: Posterior, other: Posterior, label: str) -> list[Difference]:
    """Compare every number that both have, but those that vary in neither and fluxes that are parameters as well."""
    here, there = first.columns(), other.columns()
    for component in first.spec.components:
        name, flux = component.norm, f"{FLUX}[{component.name}]"
        if isinstance(name, str) and name in there and np.allclose(here[name], here[flux], rtol=1e-9):
            del here[flux]
    found = []
    for name in here:
        if name not in there:
            continue
        log10 = all(isinstance(_prior(posterior, name), LogUniform) for posterior in (first, other))
        a, b = (np.log10(draws) if log10 else draws for draws in (here[name], there[name]))
        sd = math.sqrt(0.5 * (a.var() + b.var()))
        rounding = _ROUNDING * max(np.abs(a).max(), np.abs(b).max())
        if sd > rounding:
            ratio = float(b.std() / a.std()) if a.std() > rounding else None
            distance = float(wasserstein_distance(a, b)) / sd
            found.append(Difference(name, label, log10, float(b.mean() - a.mean()) / sd, ratio, distance, sd))
    return found


def _prior(posterior: Posterior, name: str) -> Prior | None:
    """Prior of the parameter that a number belongs to; None for a derived one."""
    return posterior.spec.parameters.get(name.partition("[")[0])


def _notes(first_label: str, first: Posterior, label: str, other: Posterior) -> list[str]:
    """Say what two fits do not have in common, one line each."""
    notes, both = [], f"'{first_label}' and '{label}'"
    here, there = (posterior.attributes.get("dataset") for posterior in (first, other))
    if here != there:
        notes.append(f"{both}: different data sets, {here} and {there}")
    elif not same_counts(first, other):
        notes.append(f"{both}: different pixels or counts of the data set {here}")
    if first.spec.name != other.spec.name:
        notes.append(f"{both}: different models, {first.spec.name} and {other.spec.name}")
    elif first.spec != other.spec:
        parts = [
            name for name in type(first.spec).model_fields if getattr(first.spec, name) != getattr(other.spec, name)
        ]
        notes.append(f"{both}: the model {first.spec.name} differs in {', '.join(parts)}")
    shared = first.spec.parameters.keys() & other.spec.parameters.keys()
    changed = [n for n in first.spec.parameters if n in shared and first.spec.parameters[n] != other.spec.parameters[n]]
    if changed:
        notes.append(f"{both}: different priors of {', '.join(changed)}")
    return notes


def _verdict(label: str, posterior: Posterior) -> list[str]:
    """Say how far a fit can be trusted by its own verdict, where that is not *reliable*."""
    told = posterior.attributes.get("verdict")
    level = told.get("level") if isinstance(told, dict) else None
    return [f"'{label}' is marked {level}"] if level and level != "reliable" else []


def _evidence(posterior: Posterior) -> dict[str, float]:
    """ELBO and log Z of a fit with their errors, where its file has them."""
    told = posterior.attributes.get("diagnostics")
    numbers = {**posterior.attributes, **(told if isinstance(told, dict) else {})}
    names = ("elbo", "elbo_error", "log_z", "log_z_error")
    return {
        n: float(numbers[n]) for n in names if isinstance(numbers.get(n), int | float) and math.isfinite(numbers[n])
    }


def _log_z(
    posteriors: Mapping[str, Posterior], evidence: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[float, float]]:
    """log Z minus that of the first and the error of the difference, of fits to the same counts that have a log Z."""
    (label, first), *others = posteriors.items()
    here, found = evidence[label], {}
    for name, other in others:
        there = evidence[name]
        if "log_z" in here and "log_z" in there and same_counts(first, other):
            error = math.hypot(here.get("log_z_error", math.inf), there.get("log_z_error", math.inf))
            found[name] = (there["log_z"] - here["log_z"], error)
    return found


def evidence_lines(comparison: Comparison) -> list[str]:
    """ELBO and log Z of each posterior in words, and log Z minus that of the first on the same counts."""
    lines = []
    for label, numbers in comparison.evidence.items():
        parts = [
            f"{text} {numbers[name]:.2f}"
            + (f" +- {numbers[f'{name}_error']:.2f}" if f"{name}_error" in numbers else "")
            for name, text in (("elbo", "ELBO"), ("log_z", "log Z"))
            if name in numbers
        ]
        if label in comparison.log_z_differences:
            value, error = comparison.log_z_differences[label]
            scatter = f"+- {error:.2f}" if math.isfinite(error) else "(error unknown)"
            parts.append(f"log Z minus that of '{comparison.labels[0]}' {value:+.2f} {scatter}")
        if parts:
            lines.append(f"{label}: {', '.join(parts)}")
    return lines


def comparison_table(comparison: Comparison) -> Table:
    """The largest differences, for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    shown = comparison.differences[:MOST_ROWS]
    more = len(comparison.differences) - len(shown)
    several = len(comparison.labels) > 2
    table = Table(
        title=escape(f"{' and '.join(comparison.labels[1:])} against {comparison.labels[0]}"),
        caption=f"{more} smaller differences are in {RESULT}" if more else None,
    )
    table.add_column("number")
    for heading in (*(["of"] if several else []), "distance [sd]", "shift [sd]", "sd ratio"):
        table.add_column(escape(heading), justify="left" if heading == "of" else "right")
    for entry in shown:
        ratio = "" if entry.sd_ratio is None else f"{entry.sd_ratio:.2f}"
        name = f"log10 {entry.name}" if entry.log10 else entry.name
        cells = [f"{entry.distance:.2f}", f"{entry.shift:+.2f}", ratio]
        table.add_row(escape(name), *([escape(entry.other)] if several else []), *cells)
    return table
