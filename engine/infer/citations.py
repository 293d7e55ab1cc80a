"""Collects what to cite for a model, its data and a fit: every work stands with what it is cited for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from gammasky.engine import kernels
from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer import convergence, godambe, honest, importance, objective, posterior
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.model.luminosity import LUMINOSITIES
from gammasky.engine.model.priors import PRIORS
from gammasky.engine.model.source_counts import SOURCE_COUNTS
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.templates import TEMPLATES, MapTemplate, Template
from gammasky.engine.model.terms import TERMS, NptfTerm, PoissonTerm
from gammasky.engine.sky import maps
from gammasky.engine.sky.manifest import (
    MANIFEST_NAME,
    Manifest,
    OtherCounts,
    Work,
    read_any_manifest,
    read_manifest,
    shipped_manifests,
)

ARXIV = re.compile(r"(?:arXiv:|^)([a-z-]+/\d{7}|\d{4}\.\d{4,5})")
SOFTWARE = (
    Citation(
        "the software",
        r"""
        @misc{gammasky,
          author  = {{The gammasky authors}},
          title   = {gammasky: differentiable template fits of the gamma-ray sky},
          version = {@VERSION@}
        }
        """,
    ),
    Citation(
        "the likelihood, its priors and the inference problem that this software follows",
        r"""
        @misc{MishraSharma2026,
          author        = {Mishra-Sharma, Siddharth and Slatyer, Tracy R. and Sun, Yitian and Wu, Yuqing},
          title         = {High-dimensional inference for the $\gamma$-ray sky with differentiable programming},
          year          = {2026},
          eprint        = {2604.08648},
          archivePrefix = {arXiv}
        }
        """,
    ),
)
MODELS = (  # that presets name as their reference
    Citation(
        "the model",
        r"""
        @article{MishraSharma2022,
          author        = {Mishra-Sharma, Siddharth and Cranmer, Kyle},
          title         = {Neural simulation-based inference approach for characterizing the Galactic Center $\gamma$-ray excess},
          journal       = {Physical Review D},
          volume        = {105},
          pages         = {063017},
          year          = {2022},
          eprint        = {2110.06931},
          archivePrefix = {arXiv}
        }
        """,  # noqa: E501
    ),
)
LIBRARIES = (*maps.CITATIONS, *kernels.CITATIONS)
MEASURED = {"k_hat": importance.CITATIONS, "r_hat_max": convergence.CITATIONS}  # by their names in summary.json


def citations(spec: ModelSpec, data: Iterable[Manifest], of_fit: Iterable[Citation] = ()) -> list[Citation]:
    """List the works behind a fit, each once.

    Args:
        spec: the model.
        data: the data sets whose files were used.
        of_fit: the works behind method, guide and diagnostics, see `works_of_methods`.
    """
    data, used = list(data), _maps_and_masks(spec)
    works = [*SOFTWARE, *_of_likelihood(spec), *_named_in(spec.reference)]
    works += [_entry(work) for manifest in data for work in manifest.works if work.applies(used)]
    works += [work for template in _leaves(spec) for work in template.cited()]
    works += [*LIBRARIES, *of_fit, *posterior.CITATIONS]
    works += [work for manifest in data if not manifest.works for work in _named_in(manifest.citation)]
    found: dict[str, Citation] = {}
    for work in works:
        found.setdefault(work.key, work)
    return list(found.values())


def bibtex(works: Iterable[Citation]) -> str:
    """A .bib file, each entry under a comment that says what it is cited for."""
    text = "\n\n".join(f"% {work.why}\n{work.bibtex}" for work in works) + "\n"
    return text.replace("@VERSION@", metadata.version("gammasky"))


def known_works() -> list[Citation]:
    """List every work that the package has an entry of."""
    works = [*SOFTWARE, *MODELS, *NptfTerm.citations, *LIBRARIES, *posterior.CITATIONS]
    for registry in (TEMPLATES, SOURCE_COUNTS, LUMINOSITIES, PRIORS, TERMS):
        works += [work for kind in registry.kinds.values() for work in kind.citations]
    for path in shipped_manifests().values():
        works += [Citation(work.why, work.bibtex) for work in read_manifest(path).works if "{" in work.bibtex]
    works += [work for name in METHODS for work in works_of_methods([name])]
    works += [work for guide in GUIDES.values() for work in guide.citations]
    works += [*objective.CITATIONS, *importance.CITATIONS, *convergence.CITATIONS]
    works += [*godambe.CITATIONS, *honest.CITATIONS]
    return list({work.key: work for work in works}.values())


def works_of_methods(names: Iterable[str]) -> list[Citation]:
    """List the works behind methods, and behind guides, which are fitted by method svi unless another is named.

    Args:
        names: of methods, with their default settings; and of guides, which take the place of the default one.

    Raises:
        InputError: neither a method nor a guide.
    """
    lower = [name.lower() for name in names]
    for name in lower:
        if name not in METHODS and name not in GUIDES:
            raise unknown_name("method or guide", name, [*METHODS, *GUIDES])
    guides = [{"guide": name} for name in lower if name in GUIDES]
    methods = [name for name in lower if name in METHODS] or [Svi.name] * bool(guides)
    return [work for name in methods for guide in guides or [{}] for work in works_of_method(name, guide)]


def works_of_method(name: str, settings: Mapping[str, Any]) -> tuple[Citation, ...]:
    """List the works behind a method with these settings; others are the default, and what it lacks is ignored."""
    method = METHODS[name]
    given = {option: settings[option] for option in method.options if settings.get(option) is not None}
    return method.cited({option: of.default for option, of in method.options.items()} | given)


def works_measured(diagnostics: Mapping[str, Any]) -> list[Citation]:
    """List the works behind those diagnostics of a fit that were measured."""
    return [work for name, works in MEASURED.items() if diagnostics.get(name) is not None for work in works]


def datasets_of(name: str, checksums: Mapping[str, str]) -> list[Manifest]:
    """Find the shipped data sets that were used: those with a file of one of these SHA-256, and the one called `name`
    if it has no files."""
    found = []
    for shipped, path in shipped_manifests().items():
        manifest = read_manifest(path)
        files = manifest.files
        if any(file in files and files[file].sha256 == sha256 for file, sha256 in checksums.items()):
            found.append(manifest)
        elif shipped == name and not files:
            found.append(manifest)  # made on the spot: nothing to download
    return found


def dataset_named(name_or_path: str) -> Manifest:
    """Find the data set of that name or manifest; behind simulated counts it is the one that they were made on.

    Raises:
        InputError: no such data set, or a damaged manifest.
    """
    shipped = shipped_manifests()
    if name_or_path in shipped:
        return read_manifest(shipped[name_or_path])
    path = Path(name_or_path)
    path = path / MANIFEST_NAME if path.is_dir() else path
    if not path.is_file():
        if len(path.parts) > 1 or path.suffix == ".toml":
            raise InputError(f"data set {name_or_path}: not found; give a dataset.toml, its folder, or a name")
        raise unknown_name("data set", name_or_path, shipped)
    manifest = read_any_manifest(path)
    if isinstance(manifest, OtherCounts):
        return dataset_named(manifest.base if manifest.base in shipped else str(path.parent / manifest.base))
    return manifest


def _leaves(spec: ModelSpec) -> list[Template]:
    return [leaf for component in spec.components for leaf in component.template.leaves()]


def _maps_and_masks(spec: ModelSpec) -> set[str]:
    """The maps and masks of the data set that a model names."""
    return {leaf.map for leaf in _leaves(spec) if isinstance(leaf, MapTemplate)} | set(spec.region.mask_names)


def _of_likelihood(spec: ModelSpec) -> list[Citation]:
    """The works behind the terms of the likelihood, the source-count functions, the spectra and the priors."""
    counts_term = NptfTerm if spec.populations else PoissonTerm
    of_sources = [of for component in spec.populations for of in (component.source_counts, component.luminosity)]
    functions = [function for function in of_sources if function is not None]
    spectra = [component.spectrum for component in spec.components if component.spectrum is not None]
    parts = [counts_term, *spec.terms, *functions, *spectra, *spec.parameters.values()]
    return [work for part in parts for work in part.citations]


def _entry(work: Work) -> Citation:
    """A work that a data set asks to be cited."""
    if ARXIV.match(work.bibtex):
        return replace(_named_in(work.bibtex)[0], why=work.why)
    return Citation(work.why, work.bibtex)


def _named_in(text: str) -> list[Citation]:
    """The works whose arXiv identifiers stand in a text: with their entries, where the package has them."""
    numbers = dict.fromkeys(ARXIV.findall(text))
    entries = {work.arxiv: work for work in known_works()} if numbers else {}
    return [entries.get(number) or _only_identifier(number) for number in numbers]


def _only_identifier(number: str) -> Citation:
    """A work of which nothing but its arXiv identifier is known here."""
    key = f"arXiv{number.replace('/', '-')}"
    entry = f"@misc{{{key},\n  eprint        = {{{number}}},\n  archivePrefix = {{arXiv}}\n}}"
    return Citation("named by the model or the data set; complete the entry", entry)
