"""`gammasky fit`: from a model and a data set to a posterior."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FOLDER, data_options, method_options, skies_option, start_engine, words_of
from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_held, folder_made
from gammasky.engine.infer.settings import N_SKIES, Settings


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for posterior, summary and figures.")
@method_options()
@click.option("--honest", is_flag=True, help="Adjust the errors to pixels that share sources: see 'gammasky honest'.")
@skies_option(default=None, show_default=str(N_SKIES))
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a fit that --out already holds.")
@click.option("--quiet", is_flag=True, help="No live progress.")
def fit(
    model: str,
    data_name: str,
    data_dir: Path | None,
    out: Path,
    honest: bool,
    skies: int | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fit MODEL (default: fiducial) to a data set.

    MODEL is a preset (see 'gammasky models') or a model file in TOML. DIR receives posterior.nc, summary.json, the
    figures and, of svi, the ELBO trace. The first line of the result says how far to trust it.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    if skies is not None and not honest:
        raise click.UsageError("--skies is of --honest; give both")
    asked = Settings(**settings)
    with folder_made(out), folder_held(out):
        start_engine("gammasky.engine.infer.run")
        run_fit(
            model,
            data_name,
            data_dir,
            out,
            settings=asked,
            honest=(N_SKIES if skies is None else skies) if honest else None,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
        )


def run_fit(
    model: str,
    data: str,
    data_dir: Path | None,
    out: Path,
    *,
    settings: Settings,
    honest: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Fit a model; write posterior.nc, summary.json, elbo.csv and figures/ to `out`.

    With `honest`, a number of simulated skies, the errors are adjusted to pixels that share sources afterwards.

    With `overwrite` the files of the older fit stay until those of the new one take their places.

    Raises:
        InputError: bad input, found before anything is written; `out` already holds a fit.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    from gammasky.engine.infer.godambe import require_enough
    from gammasky.engine.infer.honest import adjust_fit
    from gammasky.engine.infer.honest import told as told_of
    from gammasky.engine.infer.outputs import write_outputs
    from gammasky.engine.infer.run import fit as fit_model
    from gammasky.engine.interrupt import Interrupts
    from gammasky.engine.model import SkyModel
    from gammasky.engine.sky.dataset import Dataset

    _check_content(out, resume=resume, overwrite=overwrite)
    began = time.perf_counter()
    with Interrupts():  # JAX's hook on garbage collection may swallow a KeyboardInterrupt
        dataset = Dataset.open(data, data_dir)
        for note in [] if quiet else dataset.notes:
            click.echo(f"gammasky: {note}", err=True)
        sky_model = SkyModel(model, dataset)
        if honest is not None:
            require_enough(honest, sky_model.n_latent)
        result = fit_model(sky_model, settings, folder=out, resume=resume, overwrite=overwrite, quiet=quiet)
        told = partial(command, model, data, data_dir, f"{out}-again")
        write_outputs(sky_model, settings, result, out, time.perf_counter() - began, quiet=quiet, told=told)
        if honest is not None:
            entry = adjust_fit(sky_model, out, skies=honest, seed=settings.seed, quiet=quiet)
            for line in [] if quiet else told_of(entry, sky_model.main_parameters()):
                click.echo(line)


def _check_content(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds something the user did not mean to touch."""
    from gammasky.engine.infer.outputs import CHECKPOINT, POSTERIOR

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


def command(model: str, data_name: str, data_dir: Path | None, out: str, settings: Mapping[str, Any]) -> str:
    """A fit with these settings as a command that can be pasted."""
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    options = [word for name, value in settings.items() for word in words_of(name, value)]
    return shlex.join(["gammasky", "fit", model, "--data", data_name, *where, *options, "--out", out])
