"""`gammasky profile`: the profile likelihood of one number, and limits on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FOLDER, data_options, start_engine
from gammasky.commands.runners import running


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option(
    "--of",
    required=True,
    metavar="NUMBER",
    help="A parameter (S_gce, theta_pib[Opi]), flux[COMPONENT] or point_source_fraction[GROUP].",
)
@click.option("--points", type=click.IntRange(min=6), default=24, show_default=True, help="Points of the profile.")
@click.option("--limit", "level", type=float, default=0.95, show_default=True, help="Level of intervals and limits.")
@click.option(
    "--skies",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Skies of each of 9 values: Feldman-Cousins interval, CLs limit, expected limits.",
)
@click.option(
    "--simulator",
    default="likelihood",
    show_default=True,
    metavar="NAME",
    help="likelihood (independent pixels) or photons (sources on the sphere, PSF).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random number.")
@running
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for the skies, tables and figures.")
def profile(
    model: str,
    data_name: str,
    data_dir: Path | None,
    of: str,
    points: int,
    level: float,
    skies: int,
    simulator: str,
    seed: int,
    address: str | None,
    workers: int | None,
    lanes: int,
    out: Path,
    **options: Any,
) -> None:
    """Profile the likelihood of MODEL (default: fiducial) along one number, and find intervals and limits.

    The profile is the highest likelihood for each value, within the supports of the priors. With --skies, intervals
    and limits come from skies that are drawn at each value. The same command goes on where an interrupted one stopped,
    and --skies may grow.
    """
    start_engine("gammasky.analyses.profiles.run")
    from gammasky.analyses.profiles.report import lines
    from gammasky.analyses.profiles.run import run_profile
    from gammasky.analyses.profiles.study import ProfileStudy
    from gammasky.distributed.member import Resources
    from gammasky.distributed.runners.place import runner_at
    from gammasky.engine.kernels.threads import thread_count

    folder = None if data_dir is None else str(data_dir)
    study = ProfileStudy(
        model, data_name, folder, skies=skies, simulator=simulator, seed=seed, of=of, points=points, level=level
    )
    at_once = 1 if address is None else workers or thread_count()
    resources = Resources(cpus=max(thread_count() // at_once, 1))
    result = run_profile(study, runner_at(address, workers, lanes), out, resources=resources, **options)
    for what, value in lines(result):
        click.echo(f"{what}: {value}")
