"""`gammasky data show` and `gammasky data import`: what files are, and maps that others made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gammasky.commands.options import FILE, FOLDER, NamedPath

if TYPE_CHECKING:
    from gammasky.engine.sky.describe import Description


@click.command()
@click.argument("path", type=NamedPath(path_type=Path), metavar="DIR|FILE")
@click.option("--plot", type=FILE, metavar="PNG", help="Draw the map of FILE to this file.")
@click.option("--frame", type=click.Choice(["galactic", "equatorial"]), help="Frame of a map that does not say it.")
def show(path: Path, plot: Path | None, frame: Any) -> None:
    """Tell what FILE is, or every file of DIR: kind, frame, pixels, energies, units, sums."""
    from gammasky.engine.errors import InputError
    from gammasky.engine.sky.describe import describe, describe_folder

    if path.is_dir():
        if plot is not None:
            raise InputError(f"{path}: a folder cannot be drawn; name one of its files")
        for number, description in enumerate(describe_folder(path, frame)):
            if number:
                click.echo()
            _tell(description)
        return
    description = describe(path, frame)
    _tell(description)
    if plot is not None:
        _draw(description, plot)


def _tell(description: Description) -> None:
    """Print a description: name and kind, then a line for each thing to say."""
    click.echo(f"{description.path.name}: {description.kind}")
    width = max((len(what) for what, _ in description.lines), default=0)
    for what, value in description.lines:
        click.echo(f"    {what:<{width}}  {value}")


def _draw(description: Description, plot: Path) -> None:
    from gammasky.engine.errors import InputError
    from gammasky.engine.infer.figures.style import save, styled
    from gammasky.engine.sky import sky_map

    if description.sky is None or description.pixels is None:
        raise InputError(f"{description.path}: {description.kind}, which has no map to draw; leave `plot` out")
    with styled():
        title = f"{description.path.name}: {description.kind}"
        save(sky_map.draw(description.sky, description.pixels, title, description.unit), plot)
    click.echo(f"map: {plot}")


@click.group("import")
def import_() -> None:
    """Make a data folder of maps that others made."""


@import_.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder to make; it must not be there.")
@click.option("--energy", type=float, nargs=2, required=True, metavar="LOW HIGH", help="Energies of the counts [GeV].")
@click.option("--psf-sigma", type=float, required=True, metavar="DEG", help="Width of a Gaussian PSF; 0: none.")
def nptfit(folder: Path, out: Path, energy: tuple[float, float], psf_sigma: float) -> None:
    """Make a data set of a folder of `.npy` maps and masks as NPTFit's examples have them.

    Names say what they are: *counts*, *exposure*, *mask*, template_*. Energies and PSF are not in such files.
    """
    from gammasky.engine.errors import InputError
    from gammasky.engine.sky.nptfit_maps import import_nptfit

    if not (math.isfinite(psf_sigma) and psf_sigma >= 0):
        raise InputError(f"--psf-sigma: expected a number of at least 0, got {psf_sigma}")
    if not 0 < energy[0] < energy[1] < math.inf:
        raise InputError(f"--energy: expected two positive, rising energies [GeV], got {energy[0]:g} {energy[1]:g}")
    click.echo(f"dataset: {import_nptfit(folder, out, energy, psf_sigma)}")
