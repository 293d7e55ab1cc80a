"""`gammasky compare`: how posteriors differ."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from gammasky.commands.options import FOLDER, NamedPath, start_engine
from gammasky.engine.errors import InputError


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
    from gammasky.engine.infer.compare import RESULT, comparison_table, evidence_lines, write_comparison
    from gammasky.engine.terminal import wide_console

    _check_out(out, overwrite)
    comparison, drawn = write_comparison(fits, out)
    console = wide_console()
    say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    for note in comparison.notes:
        say(note)
    console.print(comparison_table(comparison))
    for line in evidence_lines(comparison):
        say(line)
    say(f"{out / RESULT}, {len(drawn)} figures")


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something the user did not mean to touch."""
    from gammasky.engine.infer.compare import RESULT
    from gammasky.engine.infer.outputs import CHECKPOINT, POSTERIOR

    if (out / POSTERIOR).exists() or (out / CHECKPOINT).exists():
        raise InputError(f"--out {out}: holds a fit; choose another folder")
    if (out / RESULT).exists() and not overwrite:
        raise InputError(f"--out {out}: holds a comparison; use --overwrite, or choose another folder")
