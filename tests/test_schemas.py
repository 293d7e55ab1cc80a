"""The schemas of files describe every key, accept every file that is shipped, and refuse what the package refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.schemas import FILES, Key, json_schema, keys_of

CHECKOUT = Path(__file__).parents[1]
SCHEMAS = {kind: json_schema(kind) for kind in FILES}
SHIPPED = {
    "model": ["analyses/*.toml"],
    "ensemble": ["analyses/ensembles/*.toml"],
    "study": ["analyses/studies/*.toml", "examples/above_50_gev/latitudes.toml"],
    "dataset": ["engine/sky/*.toml"],
    "recipe": ["examples/*/recipe.toml"],
}
FOUND = [
    (kind, file.relative_to(CHECKOUT))
    for kind, patterns in SHIPPED.items()
    for pattern in patterns
    for file in sorted(CHECKOUT.glob(pattern))
]


def problems(kind: str, table: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(table)]


@pytest.mark.parametrize("kind", FILES)
def test_every_key_and_table_has_a_description(kind: str) -> None:
    """The reference is made of these: an empty cell is a key of which the docstring of its class says nothing."""
    silent = [
        f"{name}.{key}"
        for name, table in SCHEMAS[kind]["$defs"].items()
        for key, entry in table.get("properties", {}).items()
        if not entry.get("description")
    ]
    assert silent == []
    tables = {name: table for name, table in SCHEMAS[kind]["$defs"].items() if "properties" in table}
    assert [name for name, table in tables.items() if not table["description"]] == []


@pytest.mark.parametrize(("kind", "file"), FOUND, ids=[str(file) for _, file in FOUND])
def test_shipped_files_fit(kind: str, file: Path) -> None:
    table = tomllib.loads((CHECKOUT / file).read_text(encoding="utf-8"))
    assert problems(kind, {"name": "of its file"} | table) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("model", ["region", "latitude_mim"], 1.0),
        ("model", ["parameters", "S_dif", "prior"], "flat"),
        ("model", ["parameters", "S_dif", "sd"], 1.0),
        ("model", ["components", 0, "template"], {"nfw": {"gama": 1.0}}),
        ("model", ["components", 0, "source_counts"], {"slopes": [1.0]}),
        ("ensemble", ["fit"], {"method": "mcmc"}),
        ("ensemble", ["sweep", "trials"], 0),
        ("dataset", ["counts", "unit"], "intensity"),
        ("recipe", ["pixels", "nside"], 0),
    ],
)
def test_what_is_wrong_is_refused(kind: str, path: list[str | int], value: Any) -> None:
    file = {"model": "analyses/calibration.toml", "ensemble": "analyses/ensembles/sweep_lowest.toml"}.get(kind)
    file = file or {"dataset": "engine/sky/fermi.toml", "recipe": "examples/above_50_gev/recipe.toml"}[kind]
    table = tomllib.loads((CHECKOUT / file).read_text(encoding="utf-8"))
    assert problems(kind, table) == []
    here: Any = table
    for step in path[:-1]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here[path[-1]] = value
    assert problems(kind, table) != []


def test_docstrings_are_read() -> None:
    class Base:
        """A base.

        Args:
            first, second (n,) [deg]: an angle
                over two lines.
            third: one; fourth: two: of both.
        """

        first: float
        second: float
        third: int
        fourth_s: int
        fourth: int

    class Kind(Base):
        """A kind.

        Attributes:
            third: another; unknown: not a key.
            fourth_s: a time.

        Raises:
            first: never.
        """

    angle = Key("an angle over two lines", "deg")
    assert keys_of(Kind) == {
        "first": angle, "second": angle, "third": Key("another; unknown: not a key"), "fourth": Key("two: of both"),
        "fourth_s": Key("a time", "s"),
    }  # fmt: skip


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "model"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMAS["model"]
    assert main(["schema", "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {f"{kind}.schema.json" for kind in FILES}
    capsys.readouterr()
    assert main(["schema"]) == 2
    assert "expected a kind of file, one of model, dataset" in capsys.readouterr().err
    assert main(["schema", "modle"]) == 2
    assert "did you mean 'model'" in capsys.readouterr().err


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="kind of file"):
        json_schema("recip")
