"""`gammasky data`: which data sets there are, whether their files are right, and how to get them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from gammasky.commands.data_files import import_, show
from gammasky.commands.options import FILE, FOLDER


@click.group(no_args_is_help=False)
def data() -> None:
    """List, check, download and build data sets; tell what files are."""


data.add_command(show)
data.add_command(import_)


@data.command("list")
def list_() -> None:
    """List the known data sets and where their files were found."""
    from gammasky.engine.sky.demo import DEMOS
    from gammasky.engine.sky.fetch import list_datasets

    for entry in list_datasets():
        click.echo(f"{entry.name}: {entry.description}")
        absent = f"not on this machine; get it with: gammasky data fetch {entry.name}"
        click.echo(f"    {entry.folder or ('made when first used' if entry.name in DEMOS else absent)}")


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


@data.command()
@click.argument("recipe", type=FILE)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="The data folder to make; it must not be there.")
@click.option("--quiet", is_flag=True, help="No progress.")
def build(recipe: Path, out: Path, quiet: bool) -> None:
    """Make a data folder by RECIPE, a TOML file: of photon lists or cubes, exposure and point-spread function."""
    from gammasky.engine.sky.dataset import Dataset
    from gammasky.engine.sky.recipes import build as build_folder
    from gammasky.engine.sky.recipes import read_recipe

    progress = None if quiet else _progress()
    build_folder(read_recipe(recipe), out, base=recipe.parent, check=Dataset.open, progress=progress)
    dataset = Dataset.open(out)
    photons = int(dataset.counts[dataset.counts > 0].sum())
    bins = "1 energy bin" if len(dataset.counts) == 1 else f"{len(dataset.counts)} energy bins"
    click.echo(f"{out}: {photons} photons in {bins}, {dataset.pixels.name}")
    click.echo(f"what was cut and why: {out / 'report.md'}")
    click.echo(f"next: gammasky fit MODEL --data {out}")


def _progress() -> Callable[[str, int, int], None] | None:
    """A line on stderr that tells how far each step is; None where stderr is no terminal."""
    from gammasky.engine.terminal import overwrite

    if not sys.stderr.isatty():
        return None
    told = 0.0

    def tell(step: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done >= total or now - told > 0.1:
            told = now
            filled = 40 * done // max(total, 1)
            overwrite(f"gammasky: {step} [{'#' * filled}{'.' * (40 - filled)}] {done} of {total}", last=done >= total)

    return tell
