"""`gammasky dark-matter`: what the smooth excess of a fit would be as annihilation of dark matter."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FILE, FOLDER, start_engine

TABLE, FIGURE = "dark_matter.json", "dark_matter.png"


@click.command("dark-matter")
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option(
    "--yields",
    type=FILE,
    required=True,
    metavar="FILE",
    help="AtProduction_gammas.dat of arXiv:1012.4515 (PPPC 4 DM ID), which its authors give away.",
)
@click.option("--channel", "channels", multiple=True, default=("b",), show_default=True, metavar="NAME",
              help="What it annihilates into, as the file names it: b, mu, tau, W, ...; may be repeated.")  # fmt: skip
@click.option("--component", metavar="NAME", help="The smooth component; needed where several have a density profile.")
@click.option("--mass", "masses", multiple=True, type=float, metavar="GEV",
              help="A mass of the particle; may be repeated.  [60 of them, to 1 TeV]")  # fmt: skip
@click.option("--local-density", default=0.4, show_default=True, metavar="RHO",
              help="Density of dark matter at the Sun [GeV cm^-3].")  # fmt: skip
@click.option("--data", metavar="NAME|PATH", help="The data set of the fit, where its name does not lead to it.")
@click.option("--data-dir", type=FOLDER, metavar="DIR", help="Folder of the data files.")
def dark_matter(
    folder: Path,
    yields: Path,
    channels: tuple[str, ...],
    component: str | None,
    masses: tuple[float, ...],
    local_density: float,
    data: str | None,
    data_dir: Path | None,
) -> None:
    """Read the smooth excess of the fit in DIR as annihilation of dark matter.

    Of every posterior draw, the density profile in the smooth component and its shape give the cross-section <sigma v>
    that particles of each mass would need. The quantiles over the posterior go to dark_matter.json, the usual plot to
    dark_matter.png, both in DIR.
    """
    start_engine("gammasky.engine.infer.dark_matter")
    from gammasky.engine.files import write_json
    from gammasky.engine.infer.dark_matter import QUANTILES, annihilation
    from gammasky.engine.infer.figures.dark_matter import draw
    from gammasky.engine.infer.figures.style import save, styled
    from gammasky.engine.infer.saved import load
    from gammasky.engine.sky.products.annihilation import AnnihilationYields

    table = AnnihilationYields.open(yields)
    fit = load(folder, data=data, data_dir=data_dir)
    found = [
        annihilation(
            fit.model, fit.derived, table, channel, component=component, masses_gev=masses or None,
            local_density_gev_cm3=local_density,
        )
        for channel in channels
    ]  # fmt: skip
    with styled():
        save(draw(found), folder / FIGURE)
    write_json(folder / TABLE, {of.channel: of.table() for of in found})
    middle = QUANTILES.index(0.5)
    for of in found:
        for at in range(0, len(of.masses_gev), 1 if masses else 10):
            low, value, high = of.cross_sections[middle - 1 : middle + 2, at]
            click.echo(
                f"{of.channel}, {of.masses_gev[at]:.3g} GeV: <sigma v> = {value:.3g} ({low:.3g} to {high:.3g}) "
                f"cm^3 s^-1, below {of.limit[at]:.3g} at 95 %"
            )
    click.echo(f"{folder / TABLE}\n{folder / FIGURE}")
