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
    import tomllib
    from importlib.resources import files

    found = {}
    for entry in sorted(files("gammasky.analyses").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            content = tomllib.loads(entry.read_text(encoding="utf-8"))
            found[entry.name.removesuffix(".toml")] = str(content.get("description", "(no description)"))
    return found
