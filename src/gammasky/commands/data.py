"""`gammasky data`: which data sets there are, whether their files are right, and how to get them."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FOLDER


@click.group(no_args_is_help=False)
def data() -> None:
    """List, check and download data sets."""


@data.command("list")
def list_() -> None:
    """List the known data sets and where their files were found."""
    from gammasky.engine.sky.demo import DEMO
    from gammasky.engine.sky.fetch import list_datasets

    for entry in list_datasets():
        click.echo(f"{entry.name}: {entry.description}")
        absent = f"not on this machine; get it with: gammasky data fetch {entry.name}"
        click.echo(f"    {entry.folder or ('made when first used' if entry.name == DEMO else absent)}")


@data.command()
@click.argument("name", default="fermi")
@click.option("--data-dir", type=FOLDER, metavar="DIR", help="Check the files in this folder.")
@click.option("--quiet", is_flag=True, help="Print only files that are missing or wrong.")
@click.pass_context
def check(context: click.Context, name: str, data_dir: Path | None, quiet: bool) -> None:
    """Compare the files of NAME (default: fermi) with their SHA-256; exit with 1 unless all are there and right."""
    from gammasky.engine.sky.fetch import check as check_files

    statuses = check_files(name, data_dir)
    for file, status in statuses:
        if status != "ok" or not quiet:
            click.echo(f"{status:<16} {file}")
    wrong = sum(status != "ok" for _, status in statuses)
    if wrong:
        click.echo(f"{wrong} of {len(statuses)} files missing or wrong; get them with: gammasky data fetch {name}")
        context.exit(1)


@data.command()
@click.argument("name", default="fermi")
@click.option("--folder", type=FOLDER, metavar="DIR", help="Download to this folder instead of the per-user cache.")
@click.option("--base-url", metavar="URL", help="Download from a mirror instead of the public home of the files.")
@click.option("--quiet", is_flag=True, help="No progress.")
def fetch(name: str, folder: Path | None, base_url: str | None, quiet: bool) -> None:
    """Download the files of NAME (default: fermi) and check their SHA-256; files that are there are kept."""
    from gammasky.engine.sky.fetch import fetch as fetch_files

    fetch_files(name, folder, base_url, progress=not quiet)
