"""A posterior with errors that are honest about pixels that share sources; of a fit that is finished.

Draws z of the posterior are moved so that their covariance becomes that of the error that the best fit really has (see
`godambe`). Where the posterior is nearly normal on the latent space, by an affine map,

    z' = m + A (z - m),    m: mean of the draws, A: `Godambe.stretch`,

as the open-faced sandwich of Shaby 2014 (arXiv:1204.3687) and the curvature adjustment of Ribatet, Cooley & Davison
2012 (arXiv:0911.5357) do; the root A here is the one that depends on no coordinates. Such a map of a posterior with
bends or two modes would put draws where the likelihood has ruled everything out. There the likelihood is taken to the
power k = `Godambe.power` instead (Pauli, Racugno & Ventura 2011), which keeps the shape and changes all widths by about
the same factor: draws are resampled with weights L^(k - 1). L is the likelihood of the counts alone: further terms of
the likelihood share no sources between pixels, and stay as they are, like the prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gammasky.engine.citation import Citation
from gammasky.engine.errors import ImpossibleCountsError, InputError
from gammasky.engine.files import write_json
from gammasky.engine.folders import folder_held
from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION, derive
from gammasky.engine.infer.godambe import Godambe, godambe, of_counts, require_enough
from gammasky.engine.infer.importance import RELIABLE_K_HAT, importance
from gammasky.engine.infer.optimise import BATCH, highest
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.result import log_likelihoods
from gammasky.engine.infer.settings import N_SKIES
from gammasky.engine.infer.summary import summarise
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
CITATIONS = (
    Citation(
        "draws adjusted to the Godambe information",
        r"""
        @article{Shaby2014,
          author        = {Shaby, Benjamin A.},
          title         = {The open-faced sandwich adjustment for {MCMC} using estimating functions},
          journal       = {Journal of Computational and Graphical Statistics},
          volume        = {23},
          pages         = {853},
          year          = {2014},
          eprint        = {1204.3687},
          archivePrefix = {arXiv}
        }
        """,
    ),
    Citation(
        "composite likelihoods in Bayes' theorem",
        r"""
        @article{Ribatet2012,
          author        = {Ribatet, Mathieu and Cooley, Daniel and Davison, Anthony C.},
          title         = {Bayesian inference from composite likelihoods, with an application to spatial extremes},
          journal       = {Statistica Sinica},
          volume        = {22},
          pages         = {813},
          year          = {2012},
          eprint        = {0911.5357},
          archivePrefix = {arXiv}
        }
        """,
    ),
)
NORMAL = 0.05  # largest distance of cumulative probabilities from those of a normal distribution
TABLES = ("parameters", FLUX, POINT_SOURCE_FRACTION)


@dataclass(frozen=True, eq=False)
class Honest:
    """Adjusted draws and how they were found.

    Attributes:
        method: "affine" or "power".
        reason: why that one.
        z (n, D): the draws.
        distance: largest Kolmogorov distance of the plain draws from a normal distribution, over coordinates and axes.
        k_hat: of the weights of the power; NaN of an affine map.
        found: what it rests on.
    """

    method: Literal["affine", "power"]
    reason: str
    z: Floats
    distance: float
    k_hat: float
    found: Godambe


def adjusted(z: Floats, log_likelihood: Floats, found: Godambe, seed: int = 0) -> Honest:
    """Adjust draws of a posterior.

    Args:
        z (n, D), log_likelihood (n,): the draws, all with equal weight, and the log-likelihood of the counts alone.
        found: the Godambe information at their best fit.
        seed: of the resampling.
    """
    middle = z.mean(axis=0)
    mapped = middle + (z - middle) @ found.stretch.T
    distance = distance_from_normal(np.concatenate([z, (z - middle) @ found.axes[0]], axis=1))
    if distance <= NORMAL:
        reason = f"the posterior is nearly normal: cumulative probabilities within {distance:.3f} of a normal one's"
        return Honest("affine", reason, mapped, distance, np.nan, found)
    weights = importance((found.power - 1.0) * log_likelihood, np.zeros(len(z)))
    bent = f"the posterior is not nearly normal (cumulative probabilities {distance:.3f} off, more than {NORMAL:g})"
    if weights.k_hat < RELIABLE_K_HAT:
        reason = f"{bent}: the likelihood to the power {found.power:.3f}, k-hat {weights.k_hat:.2f}"
        return Honest("power", reason, z[weights.resampled(len(z), seed)], distance, weights.k_hat, found)
    reason = (
        f"{bent}, but too far from that of the likelihood to the power {found.power:.3f} (k-hat {weights.k_hat:.2f}): "
        "take these errors for a rough guide"
    )
    return Honest("affine", reason, mapped, distance, weights.k_hat, found)


def log_likelihoods_of_counts(model: SkyModel, z: Floats, log_likelihood: Floats) -> Floats:
    """Log-likelihood of the counts alone (n,) of draws z (n, D), from that with all terms (n,)."""
    return log_likelihoods(of_counts(model), z) if model.spec.terms else log_likelihood


def distance_from_normal(values: Floats) -> float:
    """Largest difference between the cumulative probabilities of a column of values (n, K) and those of the normal
    distribution of its mean and standard deviation."""
    ordered = np.sort(values, axis=0)
    normal = norm.cdf((ordered - values.mean(axis=0)) / values.std(axis=0))
    steps = (np.arange(len(values)) + 0.5)[:, None] / len(values)
    return float(np.abs(normal - steps).max())


def adjust_fit(
    model: SkyModel, folder: Path, *, skies: int = N_SKIES, seed: int = 0, quiet: bool = True
) -> dict[str, Any]:
    """Adjust the finished fit in a folder: adjusted draws in its posterior file, their numbers in its summary.

    Args:
        model: the model that was fitted, on its data.
        folder: of the fit.
        skies: simulated skies that the adjustment is measured on.
        seed: of every random number.
        quiet: no progress on stderr.

    Returns:
        the entry "honest" of the summary: "method", "reason", "power", "skies", "noise", "distance", "k_hat", the
        largest "shift", and tables as in the summary, whose entries have a "factor": sd adjusted over sd plain.

    Raises:
        InputError: no finished fit there, or one of another model or of other data; too few skies; a model that cannot
            be simulated photon by photon; another process that writes to the folder.
    """
    from gammasky.engine.infer.outputs import POSTERIOR, SUMMARY
    from gammasky.engine.infer.posterior import add_group, read_posterior_of
    from gammasky.engine.infer.posterior_groups import posterior_group
    from gammasky.engine.infer.report.fit_folder import read_fit

    require_enough(skies, model.n_latent)
    # from reading to writing: a fit that ends in between would be put back. Of no folder `read_fit` says what is wrong
    with folder_held(folder) if folder.is_dir() else nullcontext():
        summary = read_fit(folder).summary
        tree = read_posterior_of(folder / POSTERIOR, model)
        z = np.concatenate(np.asarray(tree["posterior"]["z"].values))
        stats = {name: np.asarray(tree["sample_stats"][name].values).ravel() for name in ("lp", "log_likelihood")}
        with Interrupts(), Progress(quiet) as progress:
            progress.note("looking for the best point")
            best = highest(model, z[np.argsort(-stats["lp"])[:BATCH]])
            progress.note(f"simulating {skies} skies at the best point")
            try:
                found = godambe(model, best, skies=skies, seed=seed, note=lambda done: progress.update(done, skies, ""))
            except ImpossibleCountsError as error:
                raise InputError(f"{folder}: no sky can be simulated at the best point of this fit: {error}") from None
        honest = adjusted(z, log_likelihoods_of_counts(model, z, stats["log_likelihood"]), found, seed)
        derived = derive(model, honest.z)
        chains = len(tree["posterior"]["z"]) if honest.method == "affine" else 1
        entry = _entry(honest, summary, summarise(model, derived, {}), model)
        told_of = {"seed": seed, **entry}
        add_group(folder / POSTERIOR, "honest", posterior_group(model, honest.z, derived, chains), told_of)
        write_json(folder / SUMMARY, {**summary, "honest": told_of})
        return entry


def told(entry: Mapping[str, Any], main: Sequence[str]) -> list[str]:
    """The result of `adjust_fit` in a few lines: how, and the factors of the main parameters and fractions."""
    rows = {name: entry["parameters"][name] for name in main}
    rows |= {f"PS fraction ({group})": row for group, row in entry[POINT_SOURCE_FRACTION].items()}
    shift = entry["shift"]
    return [
        f"honest errors ({entry['method']}, {entry['skies']} skies): {entry['reason']}",
        "sd adjusted / plain: " + ", ".join(f"{name} {row['factor']:.2f}" for name, row in rows.items()),
        f"largest shift of the best fit: {shift['of']} by {shift['sd']:+.2f} +- {shift['error']:.2f} sd",
    ]


def _entry(honest: Honest, plain: Mapping[str, Any], numbers: Mapping[str, Any], model: SkyModel) -> dict[str, Any]:
    """What the summary says of an adjustment."""
    found = honest.found
    shifts = found.shift / np.sqrt(np.diag(np.linalg.inv(found.precision)))
    alone = np.ones(len(shifts), dtype=bool)
    for slot in model.latent.slots.values():
        alone[slot.start : slot.start + slot.n_latent] = not slot.block
    worst = int(np.argmax(np.where(alone, np.abs(shifts), -1.0)))
    tables = {name: {key: dict(row) for key, row in numbers[name].items()} for name in TABLES}
    for name, table in tables.items():
        for key, row in table.items():
            before = plain[name][key]["sd"]
            row["factor"] = row["sd"] / before if before > 0 else 1.0
    return {
        "method": honest.method,
        "reason": honest.reason,
        "power": found.power,
        "skies": found.n_skies,
        "noise": found.noise,
        "distance": honest.distance,
        "k_hat": honest.k_hat,
        "shift": {
            "of": model.latent.names[worst],
            "sd": float(shifts[worst]),
            "error": float((found.shift_error / np.sqrt(np.diag(np.linalg.inv(found.precision))))[worst]),
        },
        **tables,
    }
