"""`gammasky schema`: JSON schemas of the files that people write, for editors that complete and check them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gammasky.commands.options import FOLDER
from gammasky.engine.errors import InputError


@click.command()
@click.argument("kind", required=False)
@click.option("--out", type=FOLDER, metavar="DIR", help="Write KIND.schema.json, or all of them, to this folder.")
def schema(kind: str | None, out: Path | None) -> None:
    """Print the JSON schema of a KIND of file: model, dataset, recipe, ensemble or study.

    Editors that know TOML (taplo, Even Better TOML) complete and check a file whose first line names its schema:
    #:schema ./model.schema.json
    """
    from gammasky.schemas import FILES, json_schema

    if kind is None and out is None:
        raise InputError(f"expected a kind of file, one of {', '.join(FILES)}; or `out`, a folder for all of them")
    schemas = {name: json.dumps(json_schema(name), indent=2) + "\n" for name in ([kind] if kind else FILES)}
    if out is None:
        click.echo(schemas[str(kind)], nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in schemas.items():
        (out / f"{name}.schema.json").write_text(text, encoding="utf-8")
        click.echo(out / f"{name}.schema.json")
