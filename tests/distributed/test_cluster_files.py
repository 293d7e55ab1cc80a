"""The cluster files are what Ray accepts, fit the package, and hold what docs/cluster.md says of them."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from gammasky.cli import cli

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples" / "cluster"
CLOUDS = {"aws": CHECKOUT / "cluster.yaml", "gcp": EXAMPLES / "gcp.yaml"}
FILES = {**CLOUDS, "local": EXAMPLES / "local.yaml"}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
DOCS = (CHECKOUT / "docs" / "cluster.md").read_text()
SBATCH = EXAMPLES / "slurm.sbatch"


def load(provider: str) -> dict[str, Any]:
    return yaml.safe_load(FILES[provider].read_text())  # type: ignore[no-any-return]


def images(config: dict[str, Any]) -> set[str]:
    """All images that a cluster file names."""
    tables = [config["docker"], *(kind.get("docker", {}) for kind in config["available_node_types"].values())]
    return {value for table in tables for name, value in table.items() if name.endswith("image")}


@pytest.mark.parametrize("provider", FILES)
def test_ray_accepts_it(provider: str) -> None:
    config = load(provider)
    assert config["provider"]["type"] == provider
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="idle_minutes"):  # the schema is one that can refuse
        validate_config(prepare_config({**load(provider), "idle_minutes": 5}))


@pytest.mark.parametrize("provider", CLOUDS)
def test_workers_come_and_go(provider: str) -> None:
    """From no worker to several of each kind, GPUs among them, within the bound of them all; the head does no fits."""
    config = prepare_config(load(provider))
    kinds = config["available_node_types"]
    workers = {name: kind for name, kind in kinds.items() if name != config["head_node_type"]}
    assert set(workers) == {"gpu_worker", "cpu_worker"}
    assert [kind["min_workers"] for kind in workers.values()] == [0, 0]
    assert all(kind["max_workers"] > 1 for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) == config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 15
    assert kinds["head"]["resources"] == {"CPU": 0}


def test_spot() -> None:
    """Workers may be taken away at any time; a head may not."""
    on_aws, on_gcp = (load(provider)["available_node_types"] for provider in ("aws", "gcp"))
    for name in ("head", "gpu_worker", "cpu_worker"):
        market = on_aws[name]["node_config"].get("InstanceMarketOptions", {}).get("MarketType")
        assert market == ("spot" if name != "head" else None)
        assert ({"preemptible": True} in on_gcp[name]["node_config"].get("scheduling", [])) == (name != "head")


@pytest.mark.parametrize("provider", CLOUDS)
def test_images_fit_the_package(provider: str) -> None:
    """One Ray and one Python on all nodes, both among those that the package asks for, and a Ray with tokens."""
    found = [re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-(cpu|gpu)", image) for image in images(load(provider))]
    assert len({match.group(1, 2, 3) for match in found if match}) == 1
    assert all(found)
    assert {match[4] for match in found if match} == {"cpu", "gpu"}
    assert found[0]
    ray, python = found[0][1], f"{found[0][2]}.{found[0][3]}"
    (asked,) = (Requirement(line) for line in PROJECT["dependencies"] if Requirement(line).name == "ray")
    assert ray in asked.specifier
    assert ray in SpecifierSet(">=2.52")
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert python in SpecifierSet(">=3.12")  # for a JAX that keeps compiled programs with callbacks
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    assert f"Ray {ray.rpartition('.')[0]} and Python {python}" in DOCS
    assert f"ray[default]=={ray}" in DOCS
    assert f"ray[default]=={ray}" in FILES["local"].read_text()


@pytest.mark.parametrize("provider", CLOUDS)
def test_each_kind_of_worker_has_what_it_needs(provider: str) -> None:
    config = prepare_config(load(provider))
    extra = re.search(r"gammasky-\*\.whl\)\[(\w+)\]", " ".join(config["worker_setup_commands"]))
    assert extra
    assert extra[1] in PROJECT["optional-dependencies"]
    cpu = config["available_node_types"]["cpu_worker"]
    assert cpu["docker"]["worker_image"].endswith("-cpu")
    for commands in (cpu["worker_setup_commands"], config["head_setup_commands"]):
        assert "gammasky-*.whl" in " ".join(commands)
        assert "cuda" not in " ".join(commands)
    assert config["file_mounts"]["~/wheels"] == "dist"
    # a shared folder is mounted, and seen in the container
    assert "--volume=/shared:/shared" in config["docker"]["run_options"]
    assert [line for line in config["initialization_commands"] if "mount -t nfs" in line and line.endswith(" /shared")]


@pytest.mark.parametrize("provider", FILES)
def test_nobody_gets_in_without_the_token(provider: str) -> None:
    config = load(provider)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    if provider == "local":
        starts = (config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1])
        assert all("export RAY_AUTH_MODE=token" in start for start in starts)
    else:
        assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


@pytest.mark.parametrize("provider", FILES)
def test_what_is_to_be_filled_in_is_told(provider: str) -> None:
    """Values in capitals are holes; the comment at the top names each of them, and so does the documentation."""
    text = FILES[provider].read_text()
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    values = yaml.safe_dump(load(provider)["provider"]) + yaml.safe_dump(load(provider)["auth"])
    values += yaml.safe_dump(load(provider).get("available_node_types", {}))
    values += " ".join(load(provider).get("initialization_commands", []))
    holes = set(re.findall(r"\b[A-Z]+(?:_[A-Z\d]+)*_(?:ID|IP|USER|HOST)\b", values))
    assert len(holes) >= 2
    assert [hole for hole in holes if hole not in comment] == []
    assert provider == "local" or [hole for hole in holes if f"`{hole}`" not in DOCS] == []


def test_the_batch_script_is_a_script() -> None:
    checked = subprocess.run(["bash", "-n", SBATCH], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def gammasky_commands(text: str) -> list[list[str]]:
    """Every command `gammasky ...` that stands in code, as words; also inside of `ray exec` and `ray job submit`."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if line.startswith("    ")]
    pieces = lines + [piece for line in joined.splitlines() for piece in re.findall(r"`([^`]+)`", line)]
    found = [match[1] for piece in pieces for match in re.finditer(r"(?:^|[\s'])(gammasky [a-z][^'#&;]*)", piece)]
    return [shlex.split(command)[1:] for command in found]


@pytest.mark.parametrize("words", gammasky_commands(DOCS + SBATCH.read_text()), ids=" ".join)
def test_commands_exist(words: list[str]) -> None:
    """Each subcommand and option that the documentation and the batch script use."""
    command: click.Command = cli
    left = list(words)
    while left and isinstance(command, click.Group):
        name = left.pop(0)
        assert name in command.commands
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in left if word.startswith("-") and word not in known] == []


def test_commands_are_found() -> None:
    found = [" ".join(words[:2]) for words in gammasky_commands(DOCS)]
    assert {"campaign plan", "campaign run", "campaign resume", "campaign status", "campaign report"} <= set(found)
    assert ["campaign", "run"] in [words[:2] for words in gammasky_commands(SBATCH.read_text())]
