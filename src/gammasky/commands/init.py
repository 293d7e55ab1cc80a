"""`gammasky init`: files to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from gammasky.commands.options import FOLDER
from gammasky.engine.errors import InputError

STARTER = ("README.md", "model.toml", "ensemble.toml", "recipe.toml")


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
def init(folder: Path) -> None:
    """Write a model, an ensemble and a data recipe into DIR to start from, with a comment on every line.

    DIR is new or empty.
    """
    from gammasky.engine.files import replacing

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or an empty folder; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    for name in STARTER:
        with replacing(folder / name) as temporary:
            temporary.write_bytes(files("gammasky.analyses").joinpath("starter", name).read_bytes())
    click.echo(f"{', '.join(STARTER)} in {folder}")
    click.echo(f"next: cd {folder} && gammasky fit model.toml --data demo --out fits/first")
