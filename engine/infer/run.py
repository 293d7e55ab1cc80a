"""One fit from beginning to end; it can be interrupted and goes on from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_held
from gammasky.engine.infer.checkpoint import load_checkpoint, save_checkpoint
from gammasky.engine.infer.importance import FEWEST_DRAWS
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.model_fit import ModelFit
from gammasky.engine.infer.option import Option
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.posterior import check_parameter_names
from gammasky.engine.infer.progress import Progress
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.stage import Stage
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import Density, SkyModel

N_DRAWS = 5000
DRAWS = Option(N_DRAWS, "draws from a fitted guide", int, low=FEWEST_DRAWS)


def fit(
    model: Density,
    settings: Settings | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float = 30.0,
    n_draws: int | None = None,
    quiet: bool = True,
    watch: Callable[[Stage], None] | None = None,
) -> ModelFit:
    """Find the posterior of a model by the method of the settings, or go on with a fit that was interrupted.

    Args:
        model: a sky model on its dataset.
        settings: the method and its numbers; default: the emulator.
        folder: keeps a checkpoint there every `checkpoint_seconds` and on Ctrl-C; None keeps none.
        resume: go on from that checkpoint; the result is bit for bit that of an uninterrupted fit.
        overwrite: replace a checkpoint that is there already; else a fit that has left one is not begun anew.
        n_draws: draws from a fitted guide, at least 100; default: N_DRAWS. Chains and particles have their own numbers.
        quiet: no progress line on stderr.
        watch: called after every piece of work, about half a second each.

    Returns:
        draws of the posterior and how they were found; `save` writes them to a folder.

    Raises:
        NonFiniteLikelihoodError: names the pixel and the parameters.
        DivergedFitError: the fit ran away; names the parameters. The last good checkpoint stays.
        InputError: a checkpoint that is damaged or of another fit, is missing where `resume` asks for it, or is there
            where neither `resume` nor `overwrite` does; another process writes to the folder; too few `n_draws`; a
            parameter whose name stands for something else in results.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is on disk.

    Example:
        >>> import gammasky
        >>> gammasky.configure()
        >>> model = gammasky.SkyModel("calibration", gammasky.Dataset.open("demo"))
        >>> fit = gammasky.fit(model, gammasky.Settings(method="laplace", seed=1))  # a quick look
        >>> fit.method, fit.z.shape
        ('laplace', (5000, 6))
        >>> f"{fit.derived['S_dif'].mean():.1f} counts/pixel"
        '19.9 counts/pixel'
        >>> folder = fit.save("fits/demo")
    """
    if isinstance(model, SkyModel):  # a parameter called `flux` would be lost among the numbers that follow from all
        check_parameter_names(model.spec)
    settings = settings or Settings()
    n_draws = DRAWS.checked("n_draws", N_DRAWS if n_draws is None else n_draws)
    path = _checkpoint_in(folder, resume=resume, overwrite=overwrite)
    identity = fit_identity(model, settings)
    held = folder_held(folder) if folder is not None else nullcontext()
    with held, Interrupts() as interrupts, Progress(quiet) as progress:
        kind = METHODS[settings.method].stage(settings.resolved())
        stage = kind(model, settings, n_draws)
        if resume and path is not None:
            progress.note("reading the checkpoint")
            checkpoint = load_checkpoint(path, identity)
            with checkpoint.reading():
                stage.restore(checkpoint)
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
        return ModelFit(**vars(stage.finish()), model=model, settings=settings)


def _checkpoint_in(folder: Path | None, *, resume: bool, overwrite: bool) -> Path | None:
    """The place of the checkpoint of a fit, which goes on from there or may write there.

    Raises:
        InputError: there is none to go on from, or one that nobody has said to replace.
    """
    if resume and overwrite:
        raise InputError("`resume=True` and `overwrite=True` exclude each other; leave one out")
    if folder is None:
        if resume:
            raise InputError("`resume=True`: expected the folder of a fit to go on with, got none; give `folder`")
        return None
    path = folder / CHECKPOINT
    if resume and not path.is_file():
        raise InputError(f"{path}: no checkpoint to go on from; start anew, without `resume=True`")
    if path.exists() and not (resume or overwrite):
        raise InputError(
            f"{path}: the checkpoint of a fit; go on with it by `resume=True`, replace it by `overwrite=True`, or "
            "choose another folder"
        )
    return path


def fit_identity(model: Density, settings: Settings) -> dict[str, Any]:
    """List what makes two fits the same: digests of model and data, and all settings."""
    return {
        **settings.resolved(),
        **model.identity,
    }
