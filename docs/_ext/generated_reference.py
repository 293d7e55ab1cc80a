"""The reference of files and commands, written from the code before the site is built.

`docs/reference/generated` receives a page for each kind of file, its JSON schema, and a page of commands. An example
of a key is what a shipped file, or a page of these docs, sets it to.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, ValidationError

import gammasky
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.analyses.ensemble.numbers import is_axis_table
from gammasky.cli import cli
from gammasky.engine.errors import InputError
from gammasky.schemas import FILES, REGISTRIES, classes_of, json_schema

DOCS = Path(__file__).parents[1]
CHECKOUT = DOCS.parent
OUT = DOCS / "reference" / "generated"
EXTRA = "extra"  # what of it goes to the top of the built site as it is: schemas/KIND.schema.json
EXAMPLES = {
    "model": ["analyses/*.toml"],
    "dataset": ["engine/sky/*.toml"],
    "recipe": ["examples/*/recipe.toml"],
    "ensemble": ["analyses/ensembles/*.toml"],
    "study": ["analyses/studies/*.toml", "examples/*/latitudes.toml"],
}
TITLES = {
    "model": "Model files", "dataset": "Data sets: `dataset.toml`", "recipe": "Recipes of data folders",
    "ensemble": "Ensemble files", "study": "Study files",
}  # fmt: skip
INTRODUCTIONS = {
    "model": "What the sky is made of: components, their templates and source-count functions, and the priors of all"
    " parameters. `gammasky models` lists the shipped ones.",
    "dataset": "The manifest of a data set: its files, and what they mean. Formats, frames and what is refused:"
    " [Data](../../data.md).",
    "recipe": "What `gammasky data build` makes a data folder of. How to write one: [Data](../../data.md).",
    "ensemble": "A base model, axes of choices, and how the members are fitted: for `gammasky campaign` and"
    " `gammasky tune --ensemble`. How to write one: [Campaigns](../../campaigns.md).",
    "study": "A question, and the ensemble or the calibration that answers it: for `gammasky study`. What the shipped"
    " ones ask: [Studies](../../studies/README.md).",
}
WORDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
LONGEST = 110  # characters of an example

Table = dict[str, Any]


def write_all() -> None:
    """Write every generated page; what has not changed is left alone, so that it is not built anew."""
    (OUT / EXTRA / "schemas").mkdir(parents=True, exist_ok=True)
    pages = {"commands.md": "\n".join(_commands()), "public.md": "\n".join(_public_names())}
    for kind in FILES:
        schema = json_schema(kind)
        pages[f"{EXTRA}/schemas/{kind}.schema.json"] = json.dumps(schema, indent=2) + "\n"
        pages[f"{kind}.md"] = "\n".join(_page(kind, schema))
    for name, text in pages.items():
        if not (OUT / name).exists() or (OUT / name).read_text(encoding="utf-8") != text:
            (OUT / name).write_text(text, encoding="utf-8")


# --- files


def _page(kind: str, schema: Table) -> Iterator[str]:
    tables, examples = schema["$defs"], examples_of(kind)
    places = _places(kind, tables)
    classes = classes_of(kind)
    yield f"# {TITLES[kind]}\n"
    yield f"{INTRODUCTIONS[kind]}\n"
    schema_file = f"{EXTRA}/schemas/{kind}.schema.json"
    yield f"Editors complete and check such a file by [its JSON schema]({schema_file}): `gammasky schema --out .`"
    yield f"writes it, and `#:schema ./{kind}.schema.json` in the first line of a file names it.\n"
    for name, table in tables.items():
        if name in REGISTRIES:
            yield f"({anchor(kind, name)})="
            yield f"## {REGISTRIES[name].what.capitalize()}: one of\n"
            yield from (f"- {_type(kind, choice)}" for choice in table["anyOf"])
            yield ""
            continue
        yield f"({anchor(kind, name)})="
        yield f"## {_heading(name, table, places[name], classes)}\n"
        yield _prose(table["description"]) + "\n"
        for key, entry in table["properties"].items():
            yield from _key(kind, name, key, entry, key in table.get("required", ()), examples)


def _heading(name: str, table: Table, place: str, classes: dict[str, type]) -> str:
    """Where the table stands; of several that may stand there, what tells them apart."""
    for registry in REGISTRIES.values():
        for word, kind in registry.kinds.items():
            if kind.__name__ == name:
                return f"{registry.what.capitalize()}: {word}"
    told = table["properties"].get("kind", {}).get("const")
    if name in {kind.__name__ for kinds in FILES.values() for kind in kinds}:
        return "A data set with other counts" if name == "OtherCounts" else "The file"
    del classes
    return f"`{place}`" + (f": {told}" if told else "")


def _key(
    kind: str, name: str, key: str, entry: Table, required: bool, examples: dict[tuple[str, str], str]
) -> Iterator[str]:
    default = "required" if required else _default(entry)
    meaning, unit = _split_unit(entry["description"])
    facts = [_type(kind, entry), *([f"unit: {unit}"] if unit else []), default]
    yield f"[`{key}`]{{#{anchor(kind, name)}-{key.lower()}}}"
    yield f": {'; '.join(facts)}\n"
    yield f"  {_prose(meaning[:1].upper() + meaning[1:])}.\n"
    yield f"  Example: `{examples[name, key]}`\n"


def _split_unit(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*) \[([^][]+)\]", text, re.DOTALL)
    return (found[1], found[2]) if found else (text, "")


def _default(entry: Table) -> str:
    if "default" not in entry:
        return "optional"
    value = entry["default"]
    if value in ("", [], {}) or isinstance(value, dict):
        return "optional"
    return f"default: `{inline(value)}`"


def anchor(kind: str, name: str) -> str:
    """The target of a table's section."""
    return f"{kind}-{name.lower()}"


def _type(kind: str, entry: Table) -> str:
    """What may stand there, in words, with links to tables."""
    if "anyOf" in entry or "oneOf" in entry:
        parts = [_type(kind, choice) for choice in entry.get("anyOf", entry.get("oneOf"))]
        return " or ".join(dict.fromkeys(parts))
    if "$ref" in entry:
        name = entry["$ref"].removeprefix("#/$defs/")
        return f"[{_short(name)}](#{anchor(kind, name)})"
    if "const" in entry:
        return f"`{inline(entry['const'])}`"
    if "enum" in entry:
        return " or ".join(f"`{inline(value)}`" for value in entry["enum"])
    if entry.get("type") == "array":
        return _array(kind, entry)
    if entry.get("type") == "object":
        inner = entry.get("additionalProperties")
        return f"table of names, each with {_type(kind, inner)}" if isinstance(inner, dict) and inner else "table"
    if "type" not in entry:
        return "any value"
    return WORDS[entry["type"]] + _limits(entry)


def _short(name: str) -> str:
    if name in REGISTRIES:
        return str(REGISTRIES[name].what)
    for registry in REGISTRIES.values():
        for word, kind in registry.kinds.items():
            if kind.__name__ == name:
                return str(word)
    return "table"


def _array(kind: str, entry: Table) -> str:
    if "prefixItems" in entry:
        return f"list of {len(entry['prefixItems'])}: {', '.join(_type(kind, item) for item in entry['prefixItems'])}"
    items = entry.get("items")
    least = f" of at least {entry['minItems']}" if entry.get("minItems") else ""
    return f"list{least}" + (f" of: {_type(kind, items)}" if items else "")


def _limits(entry: Table) -> str:
    words = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
        "pattern": "of the form",
    }  # fmt: skip
    told = [
        f"{text} `{entry[name]:g}`" if name != "pattern" else f"{text} `{entry[name]}`"
        for name, text in words.items()
        if name in entry
    ]
    return f" ({', '.join(told)})" if told else ""


def _prose(text: str) -> str:
    """A docstring as Markdown: formulas stand in lines of their own, and nothing is emphasised by a star."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()) if "\n\n    " not in text else text)
    escaped = [piece if piece.startswith("`") else re.sub(r"([*_|<>\[\]{}$~])", r"\\\1", piece) for piece in pieces]
    return "".join(escaped)


def _places(kind: str, tables: dict[str, Table]) -> dict[str, str]:
    """The key under which each table stands, where it is met first."""
    found = {part.__name__: "" for part in FILES[kind]}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, list):
            for part in node:
                visit(part, path)
        if not isinstance(node, dict):
            return
        name = node.get("$ref", "").removeprefix("#/$defs/")
        if name and (name not in found or found[name] == "") and (path or name not in found):
            if name in found:
                return
            found[name] = path
            enter(name, path)
        for key in ("anyOf", "oneOf", "items", "prefixItems"):
            visit(node.get(key), path)
        if isinstance(node.get("additionalProperties"), dict):
            visit(node["additionalProperties"], f"{path}.NAME")

    def enter(name: str, path: str) -> None:
        table = tables[name]
        visit(table if name in REGISTRIES else {}, path)
        for key, entry in table.get("properties", {}).items():
            visit(entry, f"{path}.{key}".lstrip("."))

    for part in FILES[kind]:
        enter(part.__name__, "")
    return {name: path.replace(".NAME.NAME", ".NAME") for name, path in found.items()}


# --- examples


def examples_of(kind: str) -> dict[tuple[str, str], str]:
    """The shortest line that sets each key of each table, in shipped files and in the pages of these docs."""
    found: dict[tuple[str, str], str] = {}
    tables = [_read(path) for pattern in EXAMPLES[kind] for path in sorted(CHECKOUT.glob(pattern))]
    pages = [path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))]
    blocks = [tomllib.loads(block) for page in pages for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    whole = [table for table in blocks if any(_is_whole(root, table) for root in FILES[kind])]
    for table in [*tables, *whole, *_read(DOCS / "reference" / "examples.toml")[kind]]:
        given = {"name": "of_its_file"} | table if kind == "study" else table
        root = FILES[kind][-1] if "base" in table else FILES[kind][0]
        _walk(root.model_validate(given), given, found)
    if kind != "dataset":  # a file in place of the numbers of a spectrum is read at once, and would have to be there
        _note("TableFile", {"file": "yield.txt", "energy_unit": "GeV"}, found)
    return found


def _read(path: Path) -> Table:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _is_whole(root: type[BaseModel], table: Table) -> bool:
    """Whether a piece of TOML in a page is a file of this kind."""
    try:
        root.model_validate(table)
    except (InputError, ValidationError):
        return False
    return True


def _walk(made: Any, raw: Any, found: dict[tuple[str, str], str]) -> None:
    """Note every key that `raw` sets, under the class that it was read as."""
    if isinstance(made, dict) and isinstance(raw, dict):
        for key in raw.keys() & made.keys():
            _walk(made[key], raw[key], found)
    elif isinstance(made, list | tuple) and isinstance(raw, list):
        for one, other in zip(made, raw, strict=False):
            _walk(one, other, found)
    elif isinstance(raw, dict):
        _note({"Settings": "FitSettings"}.get(type(made).__name__, type(made).__name__), raw, found)
        if isinstance(made, EnsembleFile):  # tables that this class keeps as they are
            for axis in raw.get("axes", {}).values():
                _note("AxisTable", axis if isinstance(axis, dict) and is_axis_table(axis) else {}, found)
            for override in raw.get("resources", {}).get("overrides", []):
                _note("Override", override, found)
        if isinstance(made, BaseModel):
            for field, info in type(made).model_fields.items():
                key = info.alias or field
                if key in raw:
                    _walk(getattr(made, field), raw[key], found)


def _note(name: str, raw: Table, found: dict[tuple[str, str], str]) -> None:
    """Keep the lines of a table where they are the shortest so far, and not of something empty."""
    for key, value in raw.items():
        line = f"{key} = {inline(value)}"
        kept = found.get((name, key))
        better = kept is None or (value not in ([], {}) and (kept.endswith(("[]", "{  }")) or len(line) < len(kept)))
        if len(line) <= LONGEST and better and value != "of_its_file":
            found[name, key] = line


def inline(value: Any) -> str:
    """A value in TOML, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(inner) for inner in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) and value != int(value) else str(value)


# --- commands


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "What each command is for, and every option, as `--help` says it. Examples:"
    yield "[The command line in examples](../../command_line.md).\n"
    yield from _command(cli, "gammasky", None)


def _command(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    if parent is not None:
        yield f"{'#' * (path.count(' ') + 1)} `{path}`\n"
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"```text\n{path} {usage}\n```\n"
    for paragraph in (command.help or "").split("\n\n"):
        yield _prose(paragraph.replace("\b", "")) + "\n"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None and "--help" not in parameter.opts:
            yield f"`{record[0]}`\n: {_prose(record[1])}\n"
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}", context)


# --- Python


def _public_names() -> Iterator[str]:
    """What `gammasky.NAME` is, name by name; the docstrings are read by autodoc."""
    yield "# Public names\n"
    yield "What is imported as `gammasky.NAME`, each when it is first used, so that `import gammasky` is fast."
    yield "How they go together: [From Python](../../python.md). Further names:"
    yield "[The Python interface in depth](../api.md).\n"
    for name in sorted(name for name in gammasky.__all__ if not name.startswith("_")):
        kind = "class" if inspect.isclass(getattr(gammasky, name)) else "function"
        yield f"## `{name}`\n"
        yield "```{eval-rst}"
        yield f".. auto{kind}:: gammasky.{name}"
        if kind == "class":
            yield "   :members:\n   :inherited-members: BaseModel"
        yield "```\n"


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx: pages are written before it looks for them."""
    write_all()
    del app
    return {"parallel_read_safe": True, "parallel_write_safe": True}
