"""One fit from beginning to end: files in, posterior and figures out; interruptible, resumable."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing
from gammasky.engine.infer.checkpoint import load_checkpoint, save_checkpoint
from gammasky.engine.infer.importance import Importance, importance
from gammasky.engine.infer.optimise import Laplace, laplace
from gammasky.engine.infer.posterior import check_parameter_names, write_posterior
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.summary import summarise, summary_table, write_summary
from gammasky.engine.infer.svi import MAX_CHUNK, Settings, State, VariationalFit, is_flat
from gammasky.engine.infer.verdict import Verdict, verdict_on_guide
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel

if TYPE_CHECKING:
    from gammasky.engine.infer.predictive import PredictiveCheck

Floats = NDArray[np.float64]

POSTERIOR, SUMMARY, TRACE, CHECKPOINT = "posterior.nc", "summary.json", "elbo.csv", "checkpoint.npz"
N_STARTS = 4
N_DRAWS = 5000
CHUNK_SECONDS = 0.5  # between looks at the clock, at interrupts and at the progress line
FEWEST_FLAT = 200  # steps that two windows must each have before an ELBO may be called flat
FLAT_EVERY = 500  # steps between looks at a flat ELBO: a fixed number, so that resuming changes nothing


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes:
        status: "converged" (the ELBO is flat: see `is_flat`) or "stopped" (it still rose, or the steps are too few to
            tell). Of the optimiser, not of the guide: a flat ELBO does not say that the guide can hold the posterior.
        z (n, D), log_likelihood (n,), log_guide (n,): draws, with the guide's log density.
        derived: parameters and derived quantities of the draws, by name.
        elbo (steps,): ELBO of each step; that over the draws is `weights.elbo`.
        weights: importance weights of the draws; verdict: how far to trust them.
        laplace: the start.
        seconds: wall time of optimisation and steps, over all runs.
    """

    status: str
    z: Floats
    log_likelihood: Floats
    log_guide: Floats
    derived: dict[str, Floats]
    elbo: Floats
    weights: Importance
    verdict: Verdict
    laplace: Laplace
    seconds: float


def fit(
    model: SkyModel,
    settings: Settings | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 30.0,
    n_draws: int | None = None,
    quiet: bool = True,
) -> Fit:
    """Fit a model by variational inference.

    Args:
        model: a sky model on its dataset.
        settings: guide, steps, particles, rate, seed; the defaults are those of arXiv:2604.08648.
        folder: keeps a checkpoint there every `checkpoint_seconds` and on Ctrl-C; None keeps none.
        resume: go on from that checkpoint; the result is bit for bit that of an uninterrupted fit.
        n_draws: draws from the fitted guide; default: N_DRAWS.
        quiet: no progress line on stderr.

    Returns:
        draws of the posterior and how they were found.

    Raises:
        NonFiniteLikelihoodError: names the pixel and the parameters.
        InputError: a checkpoint that is damaged or of another fit.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is on disk.
    """
    settings = settings or Settings()
    svi = VariationalFit(model, settings)
    path = folder / CHECKPOINT if folder is not None else None
    with Interrupts() as interrupts, Progress(settings.steps, quiet) as progress:
        run = _begin(svi, path if resume else None, progress)
        saved = time.monotonic()
        while not run.done():
            run.advance()
            progress.update(run.elbo)
            if path is not None and (interrupts.pending or time.monotonic() - saved > checkpoint_seconds):
                run.save(path)
                saved = time.monotonic()
            interrupts.raise_if_pending()
        if path is not None:
            run.save(path)
        progress.note("drawing from the posterior")
        result = run.finish(N_DRAWS if n_draws is None else n_draws)
        interrupts.raise_if_pending()
    return result


@dataclass
class _Run:
    """A fit under way: what its checkpoint holds."""

    svi: VariationalFit
    state: State
    start: Laplace
    elbo: Floats
    seconds: float
    _chunk: int = 1

    def done(self) -> bool:
        """Whether all steps are done, or the ELBO is flat where that is asked for."""
        settings = self.svi.settings
        if settings.early_stop and self.elbo.size % FLAT_EVERY == 0 and is_flat(self.elbo, FLAT_EVERY):
            return True
        return self.elbo.size >= settings.steps

    def advance(self) -> None:
        """A chunk of steps of about CHUNK_SECONDS, that ends where the flatness of the ELBO is looked at."""
        began = time.perf_counter()
        done = self.elbo.size
        n_steps = min(self._chunk, self.svi.settings.steps - done, FLAT_EVERY - done % FLAT_EVERY)
        self.state, elbo = self.svi.advance(self.state, self.start, n_steps)
        self.elbo = np.concatenate([self.elbo, elbo])
        seconds = time.perf_counter() - began
        self.seconds += seconds
        self._chunk = int(np.clip(CHUNK_SECONDS * elbo.size / seconds, 1, min(MAX_CHUNK, 4 * elbo.size + 1)))

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        identity = fit_identity(self.svi.model, self.svi.settings)
        save_checkpoint(path, self.state, self.start, self.elbo, self.seconds, identity)

    def finish(self, n_draws: int) -> Fit:
        """Draw from the fitted guide and evaluate the model there."""
        from gammasky.engine.infer.derived import derive

        model = self.svi.model
        z, log_guide = self.svi.draw(self.state, self.start, n_draws)
        log_likelihood = _log_likelihoods(model, z)
        if not np.isfinite(log_likelihood).all():
            raise model.explain(model.parameters(z[int(np.argmin(np.isfinite(log_likelihood)))]))
        window = min(FLAT_EVERY, max(self.elbo.size // 4, FEWEST_FLAT))
        status = "converged" if is_flat(self.elbo, window) else "stopped"
        weights, derived = importance(log_likelihood + _log_prior(z), log_guide), derive(model, z)
        return Fit(
            status=status,
            z=z,
            log_likelihood=log_likelihood,
            log_guide=log_guide,
            derived=derived,
            elbo=self.elbo,
            weights=weights,
            verdict=verdict_on_guide(weights, _shifts(model, derived, weights), status),
            laplace=self.start,
            seconds=self.seconds,
        )


def _shifts(model: SkyModel, derived: Mapping[str, Floats], weights: Importance) -> dict[str, float]:
    """How far the weights move the mean of each parameter, in standard deviations."""
    shifts: dict[str, float] = {}
    for name, slot in model.latent.slots.items():
        labels = [f"{name}[{label}]" for label in slot.labels] or [name]
        shifts |= dict(zip(labels, np.atleast_1d(weights.shift(derived[name])).tolist(), strict=True))
    return shifts


def _begin(svi: VariationalFit, checkpoint: Path | None, progress: Progress) -> _Run:
    """The run to go on with."""
    began = time.perf_counter()
    if checkpoint is None:
        progress.note("finding the best point")
        start = laplace(svi.model, svi.settings.seed, N_STARTS)
        run = _Run(svi, svi.start(start), start, np.zeros(0), 0.0)
    else:
        progress.note("reading the checkpoint")
        flat = Laplace(np.zeros(svi.model.n_latent), np.eye(svi.model.n_latent), 0.0, np.zeros(1))
        identity = fit_identity(svi.model, svi.settings)
        run = _Run(svi, *load_checkpoint(checkpoint, svi.start(flat), identity))
    progress.note("compiling")
    run.seconds += time.perf_counter() - began
    return run


def _log_prior(z: Floats) -> Floats:
    """log N(z; 0, 1) (n,) of draws z (n, D)."""
    return -0.5 * (z**2).sum(axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi)


def _log_likelihoods(model: SkyModel, z: Floats) -> Floats:
    """Log-likelihood (n,) of draws z (n, D)."""

    def evaluate(arrays: Any, points: jax.Array) -> jax.Array:
        one = lambda point: model.log_likelihood(model.parameters(point, arrays), arrays)  # noqa: E731
        return jax.lax.map(one, points, batch_size=50)

    return np.asarray(model.program("log-likelihoods", lambda: jax.jit(evaluate))(model.arrays, z))


def fit_identity(model: SkyModel, settings: Settings) -> dict[str, Any]:
    """What makes two fits the same: model, data and settings."""
    return {
        **asdict(settings),
        "model": model.spec.name,
        "model_sha256": hashlib.sha256(model.spec.model_dump_json().encode()).hexdigest(),
        "dataset": model.dataset.name,
        "data_sha256": dict(sorted(model.dataset.checksums.items())),
    }


def run_fit(
    model: str,
    data: str,
    data_dir: Path | None,
    out: Path,
    *,
    settings: Settings,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """The `gammasky fit` command: see `fit`; writes posterior.nc, summary.json, elbo.csv and figures/ to `out`.

    With `overwrite` the files of the older fit stay until those of the new one take their places.

    Raises:
        InputError: bad input, found before anything is written; `out` already holds a fit, or cannot be written to.
    """
    _check_folder(out, resume=resume, overwrite=overwrite)
    began = time.perf_counter()
    from gammasky.engine.sky.dataset import Dataset

    with Interrupts() as interrupts:  # JAX's hook on garbage collection may swallow a KeyboardInterrupt
        sky_model = SkyModel(model, Dataset.open(data, data_dir))
    interrupts.raise_if_pending()
    check_parameter_names(sky_model.spec)
    with folder_made(out):
        result = fit(sky_model, settings, folder=out, resume=resume, quiet=quiet)
        write_outputs(sky_model, settings, result, out, time.perf_counter() - began, quiet=quiet)


def write_outputs(
    model: SkyModel, settings: Settings, result: Fit, out: Path, wall_seconds: float, *, quiet: bool
) -> None:
    """Write what a fit leaves behind; the checkpoint goes last, so a folder without one is complete."""
    from rich.console import Console

    from gammasky.engine.infer.figures import FIGURES, save_figures

    info = {
        **asdict(settings),
        "status": result.status,
        "elbo": result.weights.elbo,
        "elbo_error": result.weights.elbo_error,
        "steps_done": int(result.elbo.size),
        "laplace_log_density": result.laplace.log_density,
        "laplace_log_evidence": result.laplace.log_evidence,
        "fit_seconds": round(result.seconds, 1),
        "wall_seconds": round(wall_seconds, 1),
    }
    check, note = _predictive_check(model, result.z, settings.seed)
    trust = {"verdict": result.verdict.as_dict(), "diagnostics": _diagnostics(result)}
    summary = {
        **trust,
        **summarise(model, result.derived, info, result.weights.weights),
        "predictive_checks": check.as_dict() if check else note,
    }
    write_summary(out / SUMMARY, summary)
    with replacing(out / TRACE) as temporary:
        rows = np.column_stack([np.arange(1, result.elbo.size + 1), result.elbo])
        np.savetxt(temporary, rows, fmt=["%d", "%.10g"], delimiter=",", header="step,elbo", comments="")
    figures = save_figures(model, result.z, result.derived, result.elbo, out / "figures", check)
    for stale in {out / "figures" / f"{name}.png" for name in FIGURES} - set(figures):
        stale.unlink(missing_ok=True)  # of the fit that is replaced; other files in the folder are the user's
    write_posterior(
        out / POSTERIOR, model, result.z, log_likelihood=result.log_likelihood, log_guide=result.log_guide,
        attributes={**info, **trust}, derived=result.derived,
    )  # fmt: skip
    (out / CHECKPOINT).unlink(missing_ok=True)
    if not quiet:
        console = Console()
        if not console.is_terminal:  # a file or a pipe: as wide as the table needs
            console = Console(width=120)
        console.print(summary_table(summary))
        if check is None:
            console.print(f"predictive checks {note}", soft_wrap=True)
        console.print(
            f"{result.verdict.level}: {result.verdict.reasons[0]}\n"
            f"{result.status} after {result.elbo.size} steps: ELBO {result.weights.elbo:.2f} +- "
            f"{result.weights.elbo_error:.2f}, log Z {result.weights.log_z:.2f} +- {result.weights.log_z_error:.2f}, "
            f"k-hat {result.weights.k_hat:.2f}, ESS {result.weights.ess:.0f}; "
            f"{result.seconds:.0f} s; {out / POSTERIOR}, {SUMMARY}, {len(figures)} figures",
            soft_wrap=True,
        )


def _diagnostics(result: Fit) -> dict[str, float | str]:
    """The numbers behind the verdict."""
    weights = result.weights
    return {
        "method": "svi",
        "elbo": weights.elbo,
        "log_z": weights.log_z,
        "log_z_error": weights.log_z_error,
        "k_hat": weights.k_hat,
        "ess": weights.ess,
        "efficiency": weights.efficiency,
    }


def _predictive_check(model: SkyModel, z: Floats, seed: int) -> tuple[PredictiveCheck | None, str]:
    """Replicated skies, or why there are none: the likelihood allows negative smooth means, a simulation does not."""
    from gammasky.engine.infer.predictive import predictive_check

    try:
        return predictive_check(model, z, seed=seed), ""
    except InputError as error:
        return None, f"not done: {error}"


def _check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds something the user did not mean to touch."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, got a file; choose another name")
    begun = (out / CHECKPOINT).exists()
    finished = (out / POSTERIOR).exists() and not begun
    if resume and finished:
        raise InputError(f"--out {out}: this fit is finished; nothing to resume (start again with --overwrite)")
    if resume and not begun:
        raise InputError(f"--out {out}: no checkpoint to resume from; start without --resume")
    if (finished or begun) and not (resume or overwrite):
        what = "a finished fit" if finished else "an unfinished fit"
        hint = "--overwrite" if finished else "--resume or --overwrite"
        raise InputError(f"--out {out}: holds {what}; use {hint}, or choose another folder")


@contextmanager
def folder_made(out: Path) -> Iterator[None]:
    """Make the folder, see that it can be written to; take it away again if the body leaves it empty."""
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        _remove_empty(made)
        raise InputError(f"--out {out}: cannot be written to ({error.strerror}); choose another folder") from None
    try:
        yield
    finally:
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, up to the first that holds something."""
    for folder in folders:
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
