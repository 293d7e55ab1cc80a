"""What to cite for a model, its data and the methods of a fit; the works are listed in citations.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.templates import MapTemplate
from gammasky.engine.sky.manifest import MANIFEST_NAME, OtherCounts, read_any_manifest, read_manifest, shipped_manifests

ARXIV = re.compile(r"(?:arXiv:|^)([a-z-]+/\d{7}|\d{4}\.\d{4,5})")
DEFAULT_METHODS = ("svi", "flow")

Used = dict[str, set[str]]  # kind of thing -> names, as the conditions in citations.toml have them


@dataclass(frozen=True)
class Citation:
    """A work to cite: its key, what for, and its BibTeX entry."""

    key: str
    why: str
    bibtex: str


def citations(spec: ModelSpec, datasets: Iterable[str], methods: Iterable[str], texts: str = "") -> list[Citation]:
    """List the works behind a fit, in the order of citations.toml.

    Args:
        spec: the model.
        datasets: the shipped data sets whose files were used.
        methods: methods, guide and diagnostics of the fit.
        texts: what else asks to be cited, such as a data set's own `citation`; its arXiv identifiers are added.
    """
    things = used(spec, datasets, methods)
    works = tomllib.loads((resources.files(__package__) / "citations.toml").read_text(encoding="utf-8"))["works"]
    found = [_citation(work) for work in works if _applies(work["when"], things)]
    listed = {number for work in works for number in ARXIV.findall(_eprint(work["bibtex"]))}
    others = dict.fromkeys(ARXIV.findall(texts) + sorted(things["reference"]))
    return found + [_only_identifier(number) for number in others if number not in listed]


def bibtex(works: Iterable[Citation]) -> str:
    """A .bib file, each entry under a comment that says what it is cited for."""
    return "\n\n".join(f"% {work.why}\n{work.bibtex}" for work in works) + "\n"


def used(spec: ModelSpec, datasets: Iterable[str], methods: Iterable[str]) -> Used:
    """List what a model, its data and a fit use, by kind."""
    templates = [leaf for component in spec.components for leaf in component.template.leaves()]
    maps, datasets = {leaf.map for leaf in templates if isinstance(leaf, MapTemplate)}, set(datasets)
    return {
        "dataset": datasets,
        "template": maps,
        "catalogue": maps | set(spec.region.mask_names),
        "profile": set().union(*(leaf.cited() for leaf in templates))
        | ({"bar"} if "f98" in maps and "fermi" in datasets else set()),
        "method": {method.lower() for method in methods},
        "uses": {"points"} if spec.populations else set(),
        "reference": set(ARXIV.findall(spec.reference)),
    }


def datasets_of(name: str, checksums: Mapping[str, str]) -> set[str]:
    """Find the shipped data sets that were used: those with a file of one of these SHA-256, and the one called `name`
    if it has no files."""
    found = set()
    for shipped, path in shipped_manifests().items():
        files = read_manifest(path).files
        if any(file in files and files[file].sha256 == sha256 for file, sha256 in checksums.items()):
            found.add(shipped)
        elif shipped == name and not files:
            found.add(shipped)  # made on the spot: nothing to download
    return found


def datasets_named(name_or_path: str) -> tuple[set[str], str]:
    """Find the shipped data sets behind a name or manifest, and what a manifest of the user's own asks to be cited.

    Raises:
        InputError: no such data set, or a damaged manifest.
    """
    shipped = shipped_manifests()
    if name_or_path in shipped:
        return {name_or_path}, ""
    path = Path(name_or_path)
    path = path / MANIFEST_NAME if path.is_dir() else path
    if not path.is_file():
        if len(path.parts) > 1 or path.suffix == ".toml":
            raise InputError(f"data set {name_or_path}: not found; give a dataset.toml, its folder, or a name")
        raise unknown_name("data set", name_or_path, shipped)
    manifest = read_any_manifest(path)
    if isinstance(manifest, OtherCounts):
        base = manifest.base if manifest.base in shipped else str(path.parent / manifest.base)
        return datasets_named(base)
    return set(), manifest.citation


def _applies(when: Mapping[str, list[str]], things: Used) -> bool:
    return all(
        any(fnmatchcase(name, pattern) for pattern in patterns for name in things[kind])
        for kind, patterns in when.items()
    )


def _citation(work: Mapping[str, Any]) -> Citation:
    text = work["bibtex"].strip().replace("@VERSION@", metadata.version("gammasky"))
    return Citation(text.partition("{")[2].partition(",")[0], work["why"], text)


def _eprint(text: str) -> str:
    found = re.search(r"eprint\s*=\s*\{(.*?)\}", text)
    return found.group(1) if found else ""


def _only_identifier(number: str) -> Citation:
    """A work of which nothing but its arXiv identifier is known here."""
    key = f"arXiv{number.replace('/', '-')}"
    entry = f"@misc{{{key},\n  eprint        = {{{number}}},\n  archivePrefix = {{arXiv}}\n}}"
    return Citation(key, "named by the model or the data set; complete the entry", entry)
