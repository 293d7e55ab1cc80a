"""`gammasky fit`: from a model and a data set to a posterior."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FOLDER, data_options, positive_finite, start_engine


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for posterior, summary and figures.")
@click.option("--guide", default="iaf", show_default=True, metavar="NAME", help="Guide: iaf, flow, mvn or diagonal.")
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True, help="Optimiser steps.")
@click.option(
    "--particles", type=click.IntRange(min=1), default=8, show_default=True, help="Samples per step for the ELBO."
)
@click.option(
    "--lr",
    "learning_rate",
    type=float,
    default=3e-4,
    show_default=True,
    callback=positive_finite,
    help="Learning rate of Adam.",
)
@click.option("--schedule", default="constant", show_default=True, metavar="NAME", help="Rate: constant or cosine.")
@click.option(
    "--temper", type=click.IntRange(min=0), default=0, show_default=True, help="Steps to raise the likelihood's weight."
)
@click.option("--early-stop", is_flag=True, help="Stop when the ELBO is flat.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--overwrite", is_flag=True, help="Replace a fit that --out already holds.")
@click.option("--quiet", is_flag=True, help="No live progress.")
def fit(
    model: str,
    data_name: str,
    data_dir: Path | None,
    out: Path,
    guide: str,
    steps: int,
    particles: int,
    learning_rate: float,
    schedule: str,
    temper: int,
    early_stop: bool,
    seed: int,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Fit MODEL (default: fiducial) to a data set by variational inference.

    MODEL is a preset (see 'gammasky models') or a model file in TOML. DIR receives posterior.nc, summary.json, the
    ELBO trace and the figures.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    start_engine("gammasky.engine.infer.run")
    from gammasky.engine.infer.run import run_fit
    from gammasky.engine.infer.svi import Settings

    settings = Settings(
        guide=guide,
        steps=steps,
        particles=particles,
        learning_rate=learning_rate,
        schedule=schedule,
        temper=temper,
        early_stop=early_stop,
        seed=seed,
    )
    run_fit(
        model,
        data_name,
        data_dir,
        out,
        settings=settings,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
    )
