"""One fit from beginning to end: files in, posterior and figures out; interruptible, resumable."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import load_checkpoint, save_checkpoint
from gammasky.engine.infer.methods import STAGES
from gammasky.engine.infer.methods.stage import Stage
from gammasky.engine.infer.outputs import CHECKPOINT, POSTERIOR, write_outputs
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.verdict import Remedy, in_python
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel

N_DRAWS = 5000


def fit(
    model: SkyModel,
    settings: Settings | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 30.0,
    n_draws: int | None = None,
    quiet: bool = True,
    watch: Callable[[Stage], None] | None = None,
) -> Fit:
    """Fit a model.

    Args:
        model: a sky model on its dataset.
        settings: the method and its numbers; default: svi with the spline flow.
        folder: keeps a checkpoint there every `checkpoint_seconds` and on Ctrl-C; None keeps none.
        resume: go on from that checkpoint; the result is bit for bit that of an uninterrupted fit.
        n_draws: draws from a fitted guide; default: N_DRAWS. Chains and particles have their own numbers.
        quiet: no progress line on stderr.
        watch: called after every piece of work, about half a second each.

    Returns:
        draws of the posterior and how they were found.

    Raises:
        NonFiniteLikelihoodError: names the pixel and the parameters.
        DivergedFitError: the fit ran away; names the parameters. The last good checkpoint stays.
        InputError: a checkpoint that is damaged or of another fit.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is on disk.
    """
    settings = settings or Settings()
    identity = fit_identity(model, settings)
    path = folder / CHECKPOINT if folder is not None else None
    with Interrupts() as interrupts, Progress(quiet) as progress:
        stage = STAGES[settings.method](model, settings, N_DRAWS if n_draws is None else n_draws)
        if resume and path is not None:
            progress.note("reading the checkpoint")
            stage.restore(load_checkpoint(path, identity))
        stage.begin(progress.note)
        saved = time.monotonic()
        while not stage.done():
            stage.advance()
            progress.update(*stage.progress())
            if watch is not None:
                watch(stage)
            if path is not None and (interrupts.pending or time.monotonic() - saved > checkpoint_seconds):
                save_checkpoint(path, stage.arrays(), identity)
                saved = time.monotonic()
            interrupts.raise_if_pending()
        if path is not None:
            save_checkpoint(path, stage.arrays(), identity)
        progress.note("drawing from the posterior")
        result = stage.finish()
        interrupts.raise_if_pending()
    return result


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
    told: Callable[[Remedy], str] = in_python,
) -> None:
    """The `gammasky fit` command: see `fit`; writes posterior.nc, summary.json, elbo.csv and figures/ to `out`.

    With `overwrite` the files of the older fit stay until those of the new one take their places. `told` says how the
    remedy of a verdict is written.

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
        write_outputs(sky_model, settings, result, out, time.perf_counter() - began, quiet=quiet, told=told)


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
