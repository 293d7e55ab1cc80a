"""`gammasky campaign`: an ensemble of fits, from its file to one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gammasky.commands.options import FILE, FOLDER, start_engine
from gammasky.commands.runners import running

if TYPE_CHECKING:
    from gammasky.analyses.ensemble.campaign import Campaign
    from gammasky.analyses.ensemble.ensemble import Ensemble

DATA_DIR = click.option(
    "--data-dir", type=FOLDER, metavar="DIR", help="Folder of the data files, instead of that of the ensemble."
)


@click.group()
def campaign() -> None:
    """Hundreds of fits over masks, priors, templates: plan, run, resume, and read one answer."""


@campaign.command()
@click.argument("ensemble", metavar="FILE")
@DATA_DIR
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="To estimate the time on.")
def plan(ensemble: str, data_dir: Path | None, workers: int) -> None:
    """Check the ensemble in FILE whole, and print every member with what it costs.

    FILE is an ensemble in TOML, or the name of one that comes with gammasky.
    """
    found = read_ensemble(ensemble, data_dir)
    from gammasky.analyses.ensemble.plan import plan_table
    from gammasky.engine.terminal import wide_console

    wide_console().print(plan_table(found.expansion, workers))


@campaign.command()
@click.argument("ensemble", metavar="FILE")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of the campaign; workers must see it.")
@DATA_DIR
@running
def run(ensemble: str, out: Path, data_dir: Path | None, **options: Any) -> None:
    """Fit every member of the ensemble in FILE.

    Whatever is lost on the way - a worker, a node, this process - no finished fit is: see 'gammasky campaign resume'.
    """
    _tell(read_ensemble(ensemble, data_dir).run(out, **options))


@campaign.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--retry-failed", is_flag=True, help="Try members again that failed by themselves.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    help="Time limit of an attempt at a member in this run; 0: none.  [default: what the ensemble says]",
)
@click.option("--check", is_flag=True, help="Read every result whole, and fit those again that are damaged.")
@DATA_DIR
@running
def resume(folder: Path, **options: Any) -> None:
    """Go on with the campaign in DIR."""
    start_engine("gammasky.analyses.ensemble.campaign")
    from gammasky.analyses.ensemble.campaign import Campaign

    _tell(Campaign(folder).resume(**options))


@campaign.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
def status(folder: Path) -> None:
    """How far the campaign in DIR is, also while it runs elsewhere."""
    from rich.console import Console

    from gammasky.distributed.board import render
    from gammasky.distributed.campaign import status as read_status

    Console().print(render(read_status(folder), folder.resolve().name))


@campaign.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--every", is_flag=True, help="Average members, too, whose verdict is not reliable.")
def report(folder: Path, every: bool) -> None:
    """The answer of the campaign in DIR, as far as it is done: DIR/report.html, tables and figures."""
    start_engine("gammasky.analyses.ensemble.report")
    from gammasky.analyses.ensemble.report import write_report

    page = write_report(folder, every=every)
    click.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")


@campaign.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.argument("member")
@click.option("--out", type=FILE, required=True, metavar="FILE.nc", help="The posterior, in the ArviZ schema.")
@click.option("--overwrite", is_flag=True, help="Replace a file at --out.")
def export(folder: Path, member: str, out: Path, overwrite: bool) -> None:
    """Write the posterior of MEMBER, by its name in the plan, as a file of its own."""
    start_engine("gammasky.analyses.ensemble.posterior")
    from gammasky.analyses.ensemble.posterior import export_member
    from gammasky.engine.errors import InputError

    if out.exists() and not overwrite:
        raise InputError(f"--out {out}: there is a file already; use --overwrite, or choose another name")
    click.echo(export_member(folder, member, out))


@campaign.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.argument("url", metavar="URL")
def push(folder: Path, url: str) -> None:
    """Copy what the campaign in DIR has finished to object storage, also while it runs: s3://BUCKET/PATH.

    Only what is new is copied.
    """
    from gammasky.distributed.mirror import push as copy

    click.echo(f"{copy(folder, url)} results copied to {url}")


@campaign.command()
@click.argument("url", metavar="URL")
@click.argument("folder", type=FOLDER, metavar="DIR")
def pull(url: str, folder: Path) -> None:
    """Copy a campaign from object storage into DIR, to resume or report it there."""
    from gammasky.distributed.mirror import pull as copy

    click.echo(f"{copy(url, folder)} results copied; go on with: gammasky campaign resume {folder}")


def read_ensemble(name: str, data_dir: Path | None, data: str | None = None) -> Ensemble:
    """The ensemble of a file or of that name; for other data, or its data in another folder, where they are given."""
    start_engine("gammasky.analyses.ensemble.ensemble")
    from gammasky.analyses.ensemble.ensemble import Ensemble

    found = Ensemble.read(name)
    if data is not None:
        found = Ensemble(**{**found.manifest(), "data": data, "data_dir": None})
    return found if data_dir is None else Ensemble(**found.manifest(data_dir))


def _tell(campaign: Campaign) -> None:
    tally, folder = campaign.tally, campaign.folder
    assert tally
    failed = f", {tally.failed} failed (see {folder / 'failed'})" if tally.failed else ""
    click.echo(
        f"{tally.done} of {tally.total} members done, {tally.fitted} of them now, in {tally.seconds:.0f} s{failed}"
    )
    if tally.done:
        click.echo(f"the answer: gammasky campaign report {folder}")
    if tally.failed:
        raise click.exceptions.Exit(1)
