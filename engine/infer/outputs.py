"""What a fit leaves behind: posterior.nc, summary.json, the ELBO trace, figures, a line or two in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing, write_json
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.checkpoint import load_checkpoint
from gammasky.engine.infer.derived import predict
from gammasky.engine.infer.posterior import posterior_tree, write_posterior
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.summary import summarise, summary_table
from gammasky.engine.infer.verdict import Remedy, in_python
from gammasky.engine.model import SkyModel
from gammasky.engine.terminal import wide_console

if TYPE_CHECKING:
    from xarray import DataTree

    from gammasky.engine.infer.predictive import PredictiveCheck

Floats = NDArray[np.float64]
POSTERIOR, SUMMARY, TRACE, CHECKPOINT = "posterior.nc", "summary.json", "elbo.csv", "checkpoint.npz"


def write_outputs(
    model: SkyModel,
    settings: Settings,
    result: Fit,
    out: Path,
    wall_seconds: float,
    *,
    quiet: bool,
    told: Callable[[Remedy], str] = in_python,
) -> None:
    """Write what a fit leaves behind, and its result in the terminal unless `quiet`.

    The checkpoint goes last, so a folder without one is complete. `told` says how a remedy is written.
    """
    from gammasky.engine.infer.figures import FIGURES, save_figures

    info = _info(settings, result, wall_seconds)
    interrupt.check()
    check, note = _predictive_check(model, result.z, settings.seed)
    trust = _trust(result, told)
    weights = None if result.weights is None else result.weights.weights
    summary = {
        **trust,
        **summarise(model, result.derived, info, weights),
        "predictive_checks": check.as_dict() if check else note,
    }
    interrupt.check()
    write_json(out / SUMMARY, summary)
    _write_trace(out / TRACE, result.elbo)
    predictions = predict(model, result.z, result.derived)
    figures = save_figures(model, predictions, result.derived, result.elbo, out / "figures", check)
    for stale in {out / "figures" / f"{name}.png" for name in FIGURES} - set(figures):
        stale.unlink(missing_ok=True)  # of the fit that is replaced; other files in the folder are the user's
    interrupt.check()
    write_posterior(
        out / POSTERIOR, model, result.z, log_likelihood=result.log_likelihood, log_guide=result.log_guide,
        attributes={**info, **trust}, derived=result.derived, chains=result.chains, predictions=predictions,
        guide=result.guide,
    )  # fmt: skip
    (out / CHECKPOINT).unlink(missing_ok=True)
    if not quiet:
        _tell(summary, result, out, len(figures), note)


def save(model: SkyModel, settings: Settings, result: Fit, folder: Path, *, overwrite: bool) -> Path:
    """Write what `gammasky fit` writes, from Python; see `ModelFit.save`.

    Raises:
        InputError: a folder that holds a finished fit, or the checkpoint of another one.
    """
    if (folder / POSTERIOR).exists() and not overwrite:
        raise InputError(f"{folder}: holds a fit; choose another folder, or overwrite=True")
    if (folder / CHECKPOINT).exists() and not overwrite:
        load_checkpoint(folder / CHECKPOINT, {**settings.resolved(), **model.identity})  # of this fit, or refused
    with folder_made(folder), folder_held(folder):
        write_outputs(model, settings, result, folder, result.seconds, quiet=True)
    return folder


def tree_of(model: SkyModel, settings: Settings, result: Fit) -> DataTree:
    """The posterior of a fit in the ArviZ schema."""
    return posterior_tree(
        model, result.z, log_likelihood=result.log_likelihood, log_guide=result.log_guide,
        attributes={**_info(settings, result, result.seconds), **_trust(result, in_python)},
        derived=result.derived, chains=result.chains, guide=result.guide,
    )  # fmt: skip


def _trust(result: Fit, told: Callable[[Remedy], str]) -> dict[str, Any]:
    """What says how far to trust a fit."""
    return {
        "verdict": result.verdict.as_dict(told),
        "diagnostics": result.diagnostics,
        "stages": list(result.stages),
    }


def _info(settings: Settings, result: Fit, wall_seconds: float) -> dict[str, Any]:
    """The settings of a fit as asked for, its status and the time it took, for the posterior file."""
    return {
        **settings.resolved(),
        "status": result.status,
        **{name: result.diagnostics[name] for name in ("elbo", "elbo_error") if name in result.diagnostics},
        "steps_done": int(result.elbo.size),
        "laplace_log_density": result.laplace.log_density,
        "laplace_log_evidence": result.laplace.log_evidence,
        "fit_seconds": round(result.seconds, 1),
        "wall_seconds": round(wall_seconds, 1),
    }


def _write_trace(path: Path, elbo: Floats) -> None:
    """ELBO of each step; a fit without steps leaves no such file."""
    if not elbo.size:
        path.unlink(missing_ok=True)  # of the fit that is replaced
        return
    with replacing(path) as temporary:
        rows = np.column_stack([np.arange(1, elbo.size + 1), elbo])
        np.savetxt(temporary, rows, fmt=["%d", "%.10g"], delimiter=",", header="step,elbo", comments="")


def _tell(summary: dict[str, Any], result: Fit, out: Path, n_figures: int, note: str) -> None:
    """The result in the terminal: the verdict, the main numbers, where the files are."""
    console = wide_console()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    verdict = summary["verdict"]
    say(f"{verdict['level']}: {verdict['reasons'][0]}")
    if verdict["remedy"]:
        say(f"remedy: {verdict['remedy']}")
    console.print(summary_table(summary))
    if note:
        say(f"predictive checks {note}")
    numbers = ", ".join(text for name, text in _TOLD.items() if name in result.diagnostics)
    numbers = numbers.format(**result.diagnostics)
    say(f"{result.method}, {result.seconds:.0f} s: {numbers}; {out / POSTERIOR}, {SUMMARY}, {n_figures} figures")


_TOLD = {
    "elbo": "ELBO {elbo:.2f} +- {elbo_error:.2f}",
    "log_z": "log Z {log_z:.2f} +- {log_z_error:.2f}",
    "k_hat": "k-hat {k_hat:.2f}",
    "ess": "ESS {ess:.0f}",
    "r_hat_max": "R-hat {r_hat_max:.3f}",
    "ess_bulk_min": "ESS {ess_bulk_min:.0f} ({slowest})",
    "divergent": "{divergent:.2%} divergent",
}


def _predictive_check(model: SkyModel, z: Floats, seed: int) -> tuple[PredictiveCheck | None, str]:
    """Replicated skies, or why there are none: the likelihood allows negative smooth means, a simulation does not.

    A posterior that is there is kept, whatever is wrong with the sky around its region.
    """
    from gammasky.engine.infer.predictive import predictive_check

    if model.pixels.counts.dtype.kind == "f":
        return None, "not done: the counts are expected ones (Asimov data), and no random sky is like these"
    try:
        return predictive_check(model, z, seed=seed), ""
    except InputError as error:
        return None, f"not done: {error}"
