"""`gammasky calibrate`: are the posteriors of a model and a method calibrated?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FILE, FOLDER, method_options, start_engine
from gammasky.commands.runners import running
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.settings import Settings

DEFAULTS = {"steps": 2000}  # of methods that have steps: calibrations are many fits


@click.command()
@click.argument("model", default="calibration")
@click.option(
    "--data", "data_name", default="demo", show_default=True, metavar="NAME|PATH", help="Data set to simulate on."
)
@click.option("--data-dir", type=FOLDER, metavar="DIR", help="Folder of the data files.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    default=("likelihood",),
    show_default=True,
    metavar="NAME",
    help="likelihood (tests the inference), photons, photons-delta (what the likelihood neglects); may be repeated.",
)
@click.option("--skies", type=click.IntRange(min=2), default=32, show_default=True, help="Number of simulated skies.")
@click.option("--posterior", type=FILE, metavar="FILE.nc", help="Truths from this posterior instead of the prior.")
@method_options(**DEFAULTS)
@click.option("--reweight", is_flag=True, help="Correct each posterior by importance weights.")
@click.option(
    "--honest",
    type=int,
    metavar="SKIES",
    help="Rank draws with honest errors too, each from so many skies: see 'honest'.",
)
@running
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for fits, tables and figures.")
def calibrate(
    model: str,
    data_name: str,
    data_dir: Path | None,
    scenarios: tuple[str, ...],
    skies: int,
    posterior: Path | None,
    reweight: bool,
    honest: int | None,
    seed: int,
    address: str | None,
    workers: int | None,
    lanes: int,
    out: Path,
    keep_going: bool,
    allow_mixed: tuple[str, ...],
    quiet: bool,
    **settings: Any,
) -> None:
    """Simulate skies of MODEL (default: calibration), fit each, and rank the truths among the posteriors.

    The same command goes on where an interrupted one stopped, and --skies may grow. DIR receives coverage tables,
    rank histograms and P-P curves.
    """
    start_engine("gammasky.analyses.calibration.run")
    from gammasky.analyses.calibration.report import run_scenarios
    from gammasky.analyses.calibration.run import Calibration
    from gammasky.distributed.member import Resources
    from gammasky.distributed.runners.place import runner_at
    from gammasky.engine.kernels.threads import thread_count

    defaults = {name: value for name, value in DEFAULTS.items() if name in METHODS[settings["method"]].options}
    given = {name: value for name, value in settings.items() if value is not None}
    method = Settings(**defaults | given, seed=seed)
    study = Calibration(
        model=model,
        data=data_name,
        data_dir=None if data_dir is None else str(data_dir),
        skies=skies,
        method=method,
        reweight=reweight,
        honest=honest,
        posterior=None if posterior is None else str(posterior),
        seed=seed,
    )
    at_once = 1 if address is None else workers or thread_count()
    resources = Resources(cpus=max(thread_count() // at_once, 1))
    options = {"resources": resources, "keep_going": keep_going, "allow_mixed": allow_mixed, "quiet": quiet}
    click.echo(run_scenarios(study, scenarios, runner_at(address, workers, lanes), out, **options))
