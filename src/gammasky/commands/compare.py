"""`gammasky compare`: how posteriors differ."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FOLDER, NamedPath, start_engine


@click.command()
@click.argument("fits", nargs=-1, type=NamedPath(path_type=Path), metavar="A B ...")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for compare.json and the figures.")
@click.option("--overwrite", is_flag=True, help="Replace a comparison that --out already holds.")
def compare(fits: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Compare fits: folders of 'gammasky fit', or their posterior.nc. All are compared with the first, A.

    Prints the differences of the marginals, largest first. Fits of other models or data are compared in what they
    share; that they differ is said.
    """
    if len(fits) < 2:
        raise click.UsageError("expected at least two fits to compare")
    start_engine("gammasky.engine.infer.compare")
    from gammasky.engine.infer.compare import compare_fits

    compare_fits(fits, out, overwrite=overwrite)
