"""The sources of the site fit together: what `make docs` would say, as far as it can be known without building it."""

from __future__ import annotations

import ast
import importlib.util
import re
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from gammasky.cli import cli
from gammasky.schemas import FILES, json_schema

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
GENERATED = {"commands", "public", *FILES}
TEMPLATES = {DOCS / "calibration" / "page.md"}  # pages that a script fills in
PAGES = sorted(
    page
    for page in {*DOCS.rglob("*.md")} - TEMPLATES
    if not {"_build", "generated"} & set(page.relative_to(DOCS).parts)
)
READ_HERE = [CHECKOUT / "README.md", *PAGES]
MOST_LINES = 120  # of the README


def named(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@cache
def text_of(page: Path) -> str:
    """A page with what it includes, as the forge shows it."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"```\{include\} (\S+)\n.*?```", lambda found: text_of(page.parent / found[1]), text, flags=re.DOTALL)


def code_blocks(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^```(?:\{)?([\w-]+)\}?[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda found: "x" * len(found[0]), text)


@cache
def anchors(page: Path) -> set[str]:
    """The headings of a page, as a forge and the site name them in links."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated_reference", DOCS / "_ext" / "generated_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_one_toctree() -> None:
    listed = [
        str((page.parent / entry.strip()).resolve().relative_to(DOCS))
        for page in PAGES
        for kind, block in code_blocks(page.read_text(encoding="utf-8"))
        if kind == "toctree"
        for entry in block.splitlines()
        if entry.strip() and not entry.startswith(":")
    ]
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES} - {"index"}
    assert sorted(listed) == sorted(pages | {f"reference/generated/{name}" for name in GENERATED})


@pytest.mark.parametrize("page", READ_HERE, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that are linked are there, and headings too; what is generated is known by its name."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        generated = file.parent.name == "generated" and file.stem.removesuffix(".schema") in GENERATED
        if not generated and (not file.exists() or (anchor and anchor not in anchors(file))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_say_where_they_lead(page: Path) -> None:
    """On the site a page is no file: its name in a link would be one that readers never see."""
    assert re.findall(r"\[[^\]\s]+\.md\]\(", prose(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_is_code(page: Path) -> None:
    """Python parses and TOML is TOML, in cells of notebooks and elsewhere."""
    for kind, block in code_blocks(page.read_text(encoding="utf-8")):
        if re.match(r"%%writefile \S+\.toml\n", block):
            tomllib.loads(block.partition("\n")[2])
        elif kind in ("python", "code-cell"):
            ast.parse(textwrap.dedent("\n".join(re.sub("^[%!:].*", "", line) for line in block.splitlines())))
        elif kind == "toml":
            tomllib.loads(block)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every `gammasky ...` that stands alone in a line of an indented block."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        found = re.match(r"    (?:\S+ && )?(gammasky [^#&|]*)", line)
        if found:
            yield found[1].split()[1:]


@pytest.mark.parametrize("page", READ_HERE, ids=named)
def test_commands_exist(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        command: click.Command = cli
        left = list(words)
        while left and isinstance(command, click.Group):
            assert left[0] in command.commands, words
            command = command.commands[left.pop(0)]
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        assert [word for word in left if word.startswith("--") and word.partition("=")[0] not in known] == [], words


def test_notebooks_say_so() -> None:
    """A page with cells that are executed has the header that makes it a notebook, and no other has."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        has_cells = any(kind == "code-cell" for kind, _ in code_blocks(text))
        header = yaml.safe_load(text.partition("\n---\n")[0].removeprefix("---")) if text.startswith("---\n") else {}
        notebook = {"file_format": "mystnb", "kernelspec": {"name": "python3"}}
        assert {name: header.get(name) for name in notebook} == (notebook if has_cells else dict.fromkeys(notebook)), (
            page
        )


def test_every_key_has_an_example_and_none_is_unknown() -> None:
    module = reference()
    for kind in FILES:
        tables = json_schema(kind)["$defs"]
        keys = {(name, key) for name, table in tables.items() for key in table.get("properties", {})}
        assert keys - module.examples_of(kind).keys() == set()


def test_generated_pages_tell_of_every_key_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = reference()
    monkeypatch.setattr(module, "OUT", tmp_path)
    module.write_all()
    for kind in FILES:
        page = (tmp_path / f"{kind}.md").read_text(encoding="utf-8")
        for name, table in json_schema(kind)["$defs"].items():
            assert f"({kind}-{name.lower()})=" in page
            assert [
                key for key in table.get("properties", {}) if f"[`{key}`]{{#{kind}-{name.lower()}-" not in page
            ] == []
    page = (tmp_path / "commands.md").read_text(encoding="utf-8")
    assert [path for path in paths_of(cli, "gammasky") if f" `{path}`\n" not in page] == []


def paths_of(command: click.Command, path: str) -> Iterator[str]:
    for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
        yield f"{path} {name}"
        yield from paths_of(inner, f"{path} {name}")


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
