"""Imports go downwards only, and each outside package stays in its room."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PARTS = ("gammasky", "gammasky.analyses", "gammasky.distributed", "gammasky.engine")
JAX_ALLOWED = {"op", "reference", "callbacks", "derivatives"}  # the kernel modules that may know JAX


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def installed_files() -> Iterator[tuple[str, Path, bool]]:
    """Every module of the installed package: its dotted name, its file, and whether it is a package."""
    for part in PARTS:
        spec = importlib.util.find_spec(part)
        assert spec is not None
        for folder in map(Path, spec.submodule_search_locations or []):
            for file in sorted(folder.rglob("*.py")):
                steps = file.relative_to(folder).with_suffix("").parts
                is_package = steps[-1] == "__init__"
                yield ".".join([part, *(steps[:-1] if is_package else steps)]), file, is_package


def imported(module: str, source: str, is_package: bool = False) -> set[str]:
    """Dotted names that `source` imports: `from a import b` counts as `a.b`, relative imports are resolved."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = module.rsplit(".", up)[0] if node.level and up else module
            home = ".".join(filter(None, [base if node.level else "", node.module]))
            names |= {f"{home}.{alias.name}" for alias in node.names}
    return names


FILES = {name: (file, is_package) for name, file, is_package in installed_files()}


def offences(where: str, forbidden: Callable[[str, str], bool], sources: dict[str, str] | None = None) -> list[str]:
    """`module -> import` for every forbidden import in the package `where`."""
    texts = sources or {name: file.read_text(encoding="utf-8") for name, (file, _) in FILES.items()}
    return [
        f"{module} -> {name}"
        for module, text in texts.items()
        if within(module, where)
        for name in sorted(imported(module, text, FILES.get(module, (None, False))[1]))
        if forbidden(module, name)
    ]


def forbid(*packages: str) -> Callable[[str, str], bool]:
    return lambda _module, name: any(within(name, package) for package in packages)


def above_engine(_module: str, name: str) -> bool:
    own = within(name, "gammasky.engine") or name == "gammasky.__version__"
    return within(name, "gammasky") and not own


def jax_out_of_place(module: str, name: str) -> bool:
    return within(name, "jax") and module.rsplit(".", 1)[-1] not in JAX_ALLOWED


def beyond_the_density(module: str, name: str) -> bool:
    """Methods and guides see a density, its latent axes and nothing else of a model or of the sky."""
    parts = ("stages", "methods", "guides", "optimise", "nuts", "svi", "coordinates", "objective")
    inside = any(within(module, f"gammasky.engine.infer.{part}") for part in parts)
    allowed = ("gammasky.engine.model.Density", "gammasky.engine.model.flux_axes", "gammasky.engine.model.values")
    of_model = within(name, "gammasky.engine.model") or within(name, "gammasky.engine.sky")
    return inside and of_model and not any(within(name, known) for known in allowed)


RULES = {
    "methods and guides see a density only": ("gammasky.engine.infer", beyond_the_density),
    "engine imports nothing above it": ("gammasky.engine", above_engine),
    "engine is no cluster code": ("gammasky.engine", forbid("ray", "optuna", "click")),
    "kernels know no sphere": ("gammasky.engine.kernels", forbid("healpy", "astropy", "numpyro")),
    "kernels know JAX in op, reference and callbacks only": ("gammasky.engine.kernels", jax_out_of_place),
    "kernels are the lowest layer": (
        "gammasky.engine.kernels",
        forbid("gammasky.engine.sky", "gammasky.engine.model", "gammasky.engine.infer"),
    ),
    "sky imports no layer above and no JAX": (
        "gammasky.engine.sky",
        forbid("gammasky.engine.model", "gammasky.engine.infer", "jax", "ray"),
    ),
    "model imports no inference": ("gammasky.engine.model", forbid("gammasky.engine.infer")),
    "distributed knows nothing of photons": (
        "gammasky.distributed",
        forbid("gammasky.engine.sky", "gammasky.engine.model"),
    ),
}


OPTION = re.compile(r"(?<![\w-])(?<!ray start )--[a-z]")  # those of other programs are theirs


def options_named(source: str) -> list[str]:
    """Every string of a module, docstrings too, that names an option of a command line."""
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and OPTION.search(text)]


def test_options_are_named_in_the_face_only() -> None:
    """A user of Python reads `out`, which the command line turns to its option: see `in_options`."""
    below = {name: file for name, (file, _) in FILES.items() if any(within(name, part) for part in PARTS[1:])}
    found = {name: options_named(file.read_text(encoding="utf-8")) for name, file in below.items()}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_an_option_is_found_in_any_string() -> None:
    sources = {"f'--out {out}: no'": 1, 'def f():\n    """Like --resume."""': 1, "x = 'a--b, a -- b and --'": 0}
    assert {source: len(options_named(source)) for source in sources} == sources


def fragments(source: str) -> list[str]:
    """The docstrings of a module that begin with `Of ` or `As of `: they say of what, and not who does what."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [text for text in texts if text.startswith(("Of ", "As of "))]


def test_docstrings_begin_with_what_is_done() -> None:
    found = {name: fragments(file.read_text(encoding="utf-8")) for name, (file, _) in FILES.items()}
    assert {name: texts for name, texts in found.items() if texts} == {}
    sources = {'class A:\n    """Of all."""': 1, '"""As of one."""': 1, 'def f():\n    """Offset of all."""': 0}
    assert {source: len(fragments(source)) for source in sources} == sources


#: Imports within functions that close a circle on purpose: module -> what it imports.
KNOWN_CIRCLES = {
    # the demo sky is made, by the sky layer itself, when a dataset is first asked for it
    "gammasky.engine.sky.demo.cache": {"gammasky.engine.sky.demo.build"},
    # a dataset made of photons is built by the sky layer itself, and opened once more
    "gammasky.engine.sky.dataset": {"gammasky.engine.sky.recipes"},
}


def circle(sources: dict[str, str] | None = None) -> list[str]:
    """Modules that import each other in a circle, at their tops, within functions or for types; none: an empty list."""
    texts = sources or {name: file.read_text(encoding="utf-8") for name, (file, _) in FILES.items()}
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for module, text in texts.items():
        names = imported(module, text, FILES.get(module, (None, False))[1])
        found = {name if name in texts else name.rpartition(".")[0] for name in names} & set(texts)
        order.add(module, *(found - {module} - KNOWN_CIRCLES.get(module, set())))
    try:
        order.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_nothing_is_imported_in_a_circle() -> None:
    assert circle() == []


def test_a_circle_is_found_also_where_a_function_or_a_type_closes_it() -> None:
    sources = {
        "gammasky.a": "from gammasky.b import f",
        "gammasky.b": "def f():\n    from gammasky import c",
        "gammasky.c": "if TYPE_CHECKING:\n    import gammasky.a",
    }
    assert set(circle(sources)) == set(sources)
    assert circle(sources | {"gammasky.c": "import gammasky"}) == []


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    assert offences(*RULES[rule]) == []


def test_only_one_module_mentions_the_callback() -> None:
    mentions = [name for name, (file, _) in FILES.items() if "buffer_callback" in file.read_text(encoding="utf-8")]
    assert mentions == ["gammasky.engine.kernels.callbacks"]


@pytest.mark.parametrize(
    ("rule", "module", "line"),
    [
        ("engine imports nothing above it", "gammasky.engine.sky.roi", "from gammasky.cli import main"),
        ("engine imports nothing above it", "gammasky.engine.sky.roi", "from gammasky import distributed"),
        ("engine imports nothing above it", "gammasky.engine.sky.roi", "from ... import analyses"),
        ("kernels know no sphere", "gammasky.engine.kernels.nptf.op", "def f():\n    import healpy as hp"),
        (
            "kernels know JAX in op, reference and callbacks only",
            "gammasky.engine.kernels.nptf.cpu",
            "import jax.numpy",
        ),
        ("kernels are the lowest layer", "gammasky.engine.kernels.nptf.op", "from ...sky import roi"),
        ("sky imports no layer above and no JAX", "gammasky.engine.sky.roi", "from jax import numpy"),
        ("model imports no inference", "gammasky.engine.model.sky_model", "from gammasky.engine import infer"),
        ("distributed knows nothing of photons", "gammasky.distributed.run", "import gammasky.engine.sky.psf"),
        (
            "methods and guides see a density only",
            "gammasky.engine.infer.svi",
            "from gammasky.engine.model import SkyModel",
        ),
        (
            "methods and guides see a density only",
            "gammasky.engine.infer.stages.nuts",
            "import gammasky.engine.sky.roi",
        ),
    ],
)
def test_a_broken_rule_is_found(rule: str, module: str, line: str) -> None:
    where, forbidden = RULES[rule]
    assert len(offences(where, forbidden, {module: line})) == 1


def test_what_is_allowed_is_no_offence() -> None:
    where, forbidden = RULES["engine imports nothing above it"]
    lines = "from gammasky import __version__\nfrom gammasky.engine.errors import InputError\nfrom . import maps"
    assert offences(where, forbidden, {"gammasky.engine.sky.roi": lines}) == []
    where, forbidden = RULES["kernels know JAX in op, reference and callbacks only"]
    assert offences(where, forbidden, {"gammasky.engine.kernels.nptf.op": "import jax"}) == []


def test_every_layer_was_read() -> None:
    layers = ("infer", "kernels", "model", "sky")
    assert {f"gammasky.engine.{layer}" for layer in layers} | set(PARTS) <= set(FILES)
