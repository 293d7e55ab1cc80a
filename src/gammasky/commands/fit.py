"""`gammasky fit`: from a model and a data set to a posterior."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FOLDER, data_options, start_engine, svi_options


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for posterior, summary and figures.")
@click.option(
    "--method",
    default="svi",
    show_default=True,
    metavar="NAME",
    help="laplace (seconds), svi (a minute or two), nuts, or auto: svi checked by nuts, for results to publish.",
)
@svi_options(steps=5000)
@click.option("--starts", type=click.IntRange(min=1), default=1, show_default=True, help="svi: starts, best kept.")
@click.option(
    "--alpha", type=float, default=1.0, show_default=True, help="svi: bound, from 1 (ELBO) to 0 (importance-weighted)."
)
@click.option("--early-stop", is_flag=True, help="svi: stop when the ELBO is flat.")
@click.option("--chains", type=click.IntRange(min=2), default=4, show_default=True, help="nuts: chains.")
@click.option("--warmup", type=click.IntRange(min=50), default=400, show_default=True, help="nuts: tuning iterations.")
@click.option(
    "--draws", type=click.IntRange(min=50), default=1000, show_default=True, help="nuts: draws kept per chain."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a fit that --out already holds.")
@click.option("--quiet", is_flag=True, help="No live progress.")
def fit(
    model: str,
    data_name: str,
    data_dir: Path | None,
    out: Path,
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
    start_engine("gammasky.engine.infer.run")
    from gammasky.engine.infer.run import run_fit
    from gammasky.engine.infer.settings import Settings

    run_fit(
        model,
        data_name,
        data_dir,
        out,
        settings=Settings(**settings),
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
        told=partial(_command, model, data_name, data_dir, out),
    )


def _command(model: str, data_name: str, data_dir: Path | None, out: Path, remedy: Mapping[str, Any]) -> str:
    """A fit with other settings as a command that can be pasted."""
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    options = [word for name, value in remedy.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["gammasky", "fit", model, "--data", data_name, *where, *options, "--out", f"{out}-again"])
