"""The wheel holds every sub-package and data file under one name, and works outside the checkout."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gammasky

CHECKOUT = Path(__file__).parents[1]
HOMES = {"analyses": "gammasky/analyses", "distributed": "gammasky/distributed", "engine": "gammasky/engine", "src": ""}
FOLDERS = tuple(HOMES)
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"ray": "ray-core", "matplotlib": "matplotlib-base"}


def installed_name(path: Path) -> str:
    """Where a file of the checkout belongs in the wheel."""
    top, *rest = path.relative_to(CHECKOUT).parts
    return "/".join([HOMES[top], *rest]).lstrip("/")


def source_files(pattern: str) -> set[str]:
    return {installed_name(path) for folder in FOLDERS for path in (CHECKOUT / folder).rglob(pattern)}


def test_pyproject_lists_every_sub_package() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {name.removesuffix("/__init__.py").replace("/", ".") for name in source_files("__init__.py")}
    assert set(listed) == found
    assert len(listed) == len(set(listed))


def test_every_module_is_in_a_sub_package() -> None:
    packages = {name.rpartition("/")[0] for name in source_files("__init__.py")}
    assert {name.rpartition("/")[0] for name in source_files("*.py")} == packages


def test_what_the_code_imports_is_asked_for() -> None:
    """Not only what some other package brings along today. IPython is imported in notebooks, which run in it."""
    wanted = [
        *PROJECT["dependencies"],
        *(text for extra in ("s3", "gcs") for text in PROJECT["optional-dependencies"][extra]),
    ]
    asked_for = {canonicalize_name(Requirement(text).name) for text in wanted}
    known = {*sys.stdlib_module_names, "gammasky", "IPython", "cupy", "pydantic_core"}  # the last one for types
    homes, missing = packages_distributions(), set()
    for path in (path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for node in tree:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            tops = {name.partition(".")[0] for name in names} - known
            missing |= {top for top in tops if not asked_for & {canonicalize_name(home) for home in homes.get(top, ())}}
    assert missing == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the checkout gets no build folder."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(CHECKOUT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / file, tree / file)
    out = tmp_path_factory.mktemp("wheel")
    pip(["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(tree)], tree)
    (built,) = out.glob("*.whl")
    return built


def pip(words: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = source_files("*.py") | source_files("*.toml") | source_files("*.cu") | {"gammasky/py.typed"}
    assert wanted - names == set()
    assert {name.split("/")[0] for name in names} == {"gammasky", wheel.name.split("-py3")[0] + ".dist-info"}
    assert not [name for name in names if "test" in Path(name).name]


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip(["install", "--no-deps", "--no-compile", "--target", str(site), str(wheel)], elsewhere)
    modules = sorted(name.removesuffix(".py").replace("/", ".") for name in source_files("*.py"))
    modules = [name.removesuffix(".__init__") for name in modules]
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        f"import importlib, gammasky; assert gammasky.__file__.startswith({str(site)!r}), gammasky.__file__\n"
        f"for name in {modules!r}:\n"
        f"    assert importlib.import_module(name).__file__.startswith({str(site)!r}), name\n"
        "from gammasky.cli import main; sys.exit(main(['models']))"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], cwd=elsewhere, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    presets = {path.stem for path in (CHECKOUT / "analyses").glob("*.toml")}
    assert {line.split()[0] for line in result.stdout.splitlines()} == presets


@pytest.mark.slow
def test_source_distribution_holds_the_repository(tmp_path: Path) -> None:
    """All that is tracked, so that its own tests run from it, and nothing that was built."""
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("no git repository to compare with")
    tracked = {name for name in listed.stdout.splitlines() if (CHECKOUT / name).exists()}
    tree = tmp_path / "tree"
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tree / name)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, check=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name for name in tracked - held if not name.startswith(".")} == set()
    assert {name for name in held - tracked if ".egg-info/" not in name} <= {"PKG-INFO", "setup.cfg"}


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["dynamic"] == ["version"]  # that of the package itself
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((CHECKOUT / "conda" / "meta.yaml").read_text(encoding="utf-8").replace("{{ PYTHON }}", ""))
    assert citation["version"] == recipe["package"]["version"] == gammasky.__version__
    assert f"## [{gammasky.__version__}]" in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_conda_asks_for_what_pip_asks_for() -> None:
    recipe = yaml.safe_load((CHECKOUT / "conda" / "meta.yaml").read_text(encoding="utf-8").replace("{{ PYTHON }}", ""))
    needed = [Requirement(text) for text in PROJECT["dependencies"]]
    wanted = [f"{CONDA_NAMES.get(one.name, one.name)} {one.specifier}" for one in needed]
    assert recipe["requirements"]["run"] == [f"python {PROJECT['requires-python']}", *wanted]


def test_the_container_is_built_of_what_is_installed() -> None:
    """Every folder and file that pip needs is copied; Python and extras are some that pyproject.toml knows."""
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for words in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in words.split()}
    assert copied == {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], *FOLDERS}
    (version,) = re.findall(r"^FROM python:(\S+)-slim", text, re.MULTILINE)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    extras = set(re.findall(r"pip install [^#\n]*'\.\[(\w+)\]'", text))
    assert extras
    assert extras <= PROJECT["optional-dependencies"].keys()
