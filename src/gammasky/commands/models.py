"""`gammasky models`: the model presets that ship with the package."""

from __future__ import annotations

import click


@click.command()
def models() -> None:
    """List the model presets and what each of them is."""
    presets = _presets()
    width = max((len(name) for name in presets), default=0)
    for name, description in presets.items():
        click.echo(f"{name:<{width}}  {description}")


def _presets() -> dict[str, str]:
    """Preset name -> its description, in the order of names. Reads TOML only: no model is built."""
    from gammasky.engine.files import read_toml, shipped_files

    files = shipped_files("gammasky.analyses")
    return {name: str(read_toml(path).get("description", "(no description)")) for name, path in files.items()}
