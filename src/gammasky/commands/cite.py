"""`gammasky cite`: the papers behind a model, its data and the methods of a fit."""

from __future__ import annotations

from pathlib import Path

import click

from gammasky.commands.options import FOLDER, start_engine
from gammasky.engine.infer.settings import METHOD


@click.command()
@click.argument("model", required=False)
@click.option(
    "--data", "data_name", metavar="NAME|PATH", help="Data set by name, or a dataset.toml or its folder.  [fermi]"
)
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help=f"Method or guide; may be repeated.  [{METHOD.default}]"
)
@click.option("--fit", "folder", type=FOLDER, metavar="DIR", help="Model, data and methods of this fit instead.")
def cite(model: str | None, data_name: str | None, methods: tuple[str, ...], folder: Path | None) -> None:
    """Print the BibTeX of what to cite for MODEL (default: fiducial), its data and the methods used.

    Only facts that are certain are given; a work that only the model file names comes with its arXiv identifier alone.
    """
    if folder is not None and (model or data_name or methods):
        raise click.UsageError("--fit names model, data and methods; give either --fit or those")
    start_engine("gammasky.engine.infer.citations")
    from gammasky.engine.infer.citations import bibtex, citations, dataset_named, works_of_methods
    from gammasky.engine.model import read_model

    if folder is not None:
        from gammasky.engine.infer.report.fit_folder import read_fit
        from gammasky.engine.infer.report.provenance import works_of

        works = works_of(read_fit(folder))
    else:
        data = [dataset_named("fermi" if data_name is None else data_name)]
        works = citations(read_model(model or "fiducial"), data, works_of_methods(methods or [METHOD.default]))
    click.echo(bibtex(works), nl=False)
