"""`gammasky simulate`: skies of a model, as data sets that can be fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FILE, FOLDER, data_options, start_engine
from gammasky.commands.point import read_point


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--params", type=FILE, metavar="FILE.json", help="Parameters of every sky: name -> number or list.")
@click.option("--posterior", type=FILE, metavar="FILE.nc", help="A posterior.nc: one of its draws for each sky.")
@click.option("--prior", is_flag=True, help="A draw of the prior for each sky.")
@click.option("--n", type=click.IntRange(min=1), default=1, show_default=True, help="Number of skies.")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for the skies.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--simulator",
    default="photons",
    show_default=True,
    metavar="NAME",
    help="photons (sources on the sphere, PSF) or likelihood (independent pixels).",
)
@click.option("--sources", is_flag=True, help="Write the true sources of each sky.")
@click.option("--asimov", is_flag=True, help="Expected counts, not random ones; of a model without point sources.")
@click.option("--overwrite", is_flag=True, help="Replace skies that --out already holds.")
@click.option("--quiet", is_flag=True, help="No live progress.")
def simulate(
    model: str,
    data_name: str,
    data_dir: Path | None,
    params: Path | None,
    posterior: Path | None,
    prior: bool,
    out: Path,
    overwrite: bool,
    quiet: bool,
    **plan: Any,
) -> None:
    """Simulate skies of MODEL (default: fiducial) with the exposure, templates and PSF of a data set.

    Each sky is a data set of its own: a counts map sky_NNNN.fits and sky_NNNN.toml, which --data of every command
    takes. The parameters come from exactly one of --params, --posterior and --prior.
    """
    if sum((params is not None, posterior is not None, prior)) != 1:
        raise click.UsageError("expected exactly one of --params, --posterior and --prior")
    point = None if params is None else read_point(params)
    start_engine("gammasky.engine.infer.simulate")
    from gammasky.engine.infer.simulate import SimulationPlan, simulate_to_folder

    wanted = SimulationPlan(point, posterior, **plan)
    written = simulate_to_folder(model, data_name, data_dir, out, wanted, overwrite=overwrite, quiet=quiet)
    click.echo(f"{len(written)} skies in {out}; fit one with: gammasky fit {model} --data {written[0]} --out DIR")
