"""`gammasky report`: a fit as one web page."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FILE, FOLDER, positive_finite, start_engine


def _positive_or_none(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    return None if value is None else positive_finite(context, parameter, value)


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--out", type=FILE, metavar="FILE.html", help="The page.  [DIR/report.html]")
@click.option(
    "--threshold",
    type=float,
    callback=_positive_or_none,
    metavar="COUNTS",
    help="Detection threshold of a catalogue, in photons at mean exposure; else that of the data set, or an estimate.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is no report.")
def report(folder: Path, out: Path | None, threshold: float | None, overwrite: bool) -> None:
    """Write the fit in DIR as one self-contained HTML page, which opens without a network.

    It needs neither the data nor the model's files: the posterior, the summary and the figures in DIR suffice.
    """
    start_engine("gammasky.engine.infer.report")
    from gammasky.engine.infer.report.page import write_report

    page = write_report(folder, out, threshold=threshold, overwrite=overwrite)
    click.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
