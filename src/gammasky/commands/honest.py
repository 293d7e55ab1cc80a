"""`gammasky honest`: errors of a fit that know that pixels share sources."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FOLDER, data_options, skies_option, start_engine
from gammasky.engine.infer.settings import MAX_SEED


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@data_options
@click.option(
    "--model",
    metavar="FILE",
    help="Model file of the fit, where a template is a Python function beside it: it is run if you name its file.",
)
@skies_option()
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help="Seed of these skies.")
@click.option("--quiet", is_flag=True, help="No live progress.")
def honest(
    folder: Path, data_name: str, data_dir: Path | None, model: str | None, skies: int, seed: int, quiet: bool
) -> None:
    """Adjust the errors of the fit in DIR: neighbouring pixels share the photons of a source.

    The likelihood takes pixels for independent. Skies are simulated photon by photon at the best fit; how much the
    likelihood's gradient varies over them tells how wide the posterior ought to be (Godambe information). The adjusted
    draws go beside the plain ones in posterior.nc (group 'honest'), their numbers to summary.json, and to the page that
    'gammasky report' writes. Nothing is fitted again.
    """
    start_engine("gammasky.engine.infer.honest")
    from gammasky.engine.infer.honest import adjust_fit, told
    from gammasky.engine.infer.report.fit_folder import read_fit
    from gammasky.engine.model import SkyModel, read_model
    from gammasky.engine.sky.dataset import Dataset

    spec = read_fit(folder).posterior.spec
    if model is not None:
        read_model(model)
    sky_model = SkyModel(spec, Dataset.open(data_name, data_dir))
    entry = adjust_fit(sky_model, folder, skies=skies, seed=seed, quiet=quiet)
    for line in told(entry, sky_model.main_parameters()):
        click.echo(line)
