"""`gammasky study`: named studies, each one file and one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FOLDER, start_engine
from gammasky.commands.runners import running


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--quick", is_flag=True, help="Demo sky, Laplace approximations: a minute, not an answer.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Folder of the study.  [study_NAME or study_NAME_quick]")
@click.option("--data", metavar="NAME|PATH", help="Another data set than the study's.")
@click.option("--data-dir", type=FOLDER, metavar="DIR", help="Folder of the data files.")
@click.option(
    "--skies",
    "n_skies",
    metavar="N",
    type=click.IntRange(min=1),
    help="Skies of each truth, signal or scenario, where the study makes any; may grow.  [the study's]",
)
@running
def study(
    name: str,
    quick: bool,
    out: Path | None,
    data: str | None,
    data_dir: Path | None,
    n_skies: int | None,
    address: str | None,
    workers: int | None,
    lanes: int,
    **options: Any,
) -> None:
    """Run the study NAME (or a TOML file of your own), or go on with it; `gammasky study list` says what there is.

    DIR receives report.html, study.csv and the campaign of all fits.
    """
    if name == "list":
        _list()
        return
    from gammasky.analyses.studies.study import read_study

    folder = None if data_dir is None else str(data_dir.resolve())
    chosen = read_study(name, quick=quick, data=data, data_dir=folder, n_skies=n_skies)
    start_engine("gammasky.analyses.ensemble.ensemble")
    from gammasky.analyses.studies.run import run_study
    from gammasky.distributed.runners.place import runner_at

    place = out or Path(f"study_{chosen.name}{'_quick' if quick else ''}")
    report, failed = run_study(chosen, place, runner_at(address, workers, lanes), quick=quick, **options)
    click.echo(report)
    if failed:
        click.echo(f"{failed} failed (see {place / 'campaign' / 'failed'}); the same command tries again", err=True)
        raise click.exceptions.Exit(1)


def _list() -> None:
    """What each study asks, costs and follows."""
    from gammasky.analyses.studies.study import read_study, studies

    for name in studies():
        found = read_study(name)
        click.echo(f"{click.style(name, bold=True)}  ({found.cost}; {', '.join(found.follows) or 'no paper'})")
        click.echo(f"    {found.asks}")
