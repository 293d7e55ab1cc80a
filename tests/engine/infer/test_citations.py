"""What to cite: entries that BibTeX can read, and the right ones for each model, data set and method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer.citations import (
    bibtex,
    citations,
    dataset_named,
    datasets_of,
    known_works,
    works_measured,
    works_of_method,
    works_of_methods,
)
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.model import ModelSpec, model_from_table, presets, read_model
from gammasky.engine.model.terms import NptfTerm
from gammasky.engine.sky.manifest import Manifest, read_manifest, shipped_manifests

KINDS = {"article", "misc", "inproceedings"}
SOFTWARE = {"gammasky", "FlowJAX"}  # which year depends on the version
SVI = works_of_methods(["svi"])


def keys(spec: ModelSpec, datasets: Iterable[str], works: Iterable[Citation] = ()) -> list[str]:
    return [work.key for work in citations(spec, [dataset_named(name) for name in datasets], works)]


@pytest.mark.parametrize("work", known_works(), ids=lambda work: work.key)
def test_entry_is_bibtex(work: Citation) -> None:
    text = work.bibtex
    kind, key = re.fullmatch(r"@(\w+)\{([\w]+),\n.*\}", text, re.DOTALL).groups()  # type: ignore[union-attr]
    assert kind in KINDS
    assert key == work.key
    depth = 0
    for number, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        assert depth > 0 or number < text.index("{") or number == len(text) - 1, "closed too early"
    assert depth == 0
    fields = dict(re.findall(r"^  (\w+)\s*= \{(.*)\},?$", text, re.MULTILINE))
    lines = text.splitlines()[1:-1]
    assert len(fields) == len(lines)
    assert all(line.endswith("},") for line in lines[:-1])
    assert lines[-1].endswith("}")
    assert {"author", "title"} <= set(fields)
    if key not in SOFTWARE:
        assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    if "eprint" in fields:
        assert re.fullmatch(r"\d{4}\.\d{4,5}|astro-ph/\d{7}", fields["eprint"])
        assert fields["archivePrefix"] == "arXiv"
    if re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "")):
        assert int(fields["year"]) - (2000 + int(fields["eprint"][:2])) in range(4), "published before its preprint"
    assert work.arxiv == fields.get("eprint", "")


def test_a_key_and_an_identifier_stand_for_one_entry() -> None:
    works = [*known_works(), *(work for name in METHODS for work in works_of_methods([name]))]
    assert len({work.key for work in works}) == len(set(works)) == len(known_works())
    identifiers = [work.arxiv for work in known_works() if work.arxiv]
    assert len(set(identifiers)) == len(identifiers)


def test_the_fiducial_model_on_the_fermi_data() -> None:
    found = keys(read_model("fiducial"), {"fermi"}, SVI)
    wanted = {
        "gammasky",
        "MishraSharma2026",
        "MishraSharma2017",
        "Atwood2009",
        "Buschmann2020",
        "Calore2015",
        "Acero2015",
    }
    wanted |= {"Macias2019", "Coleman2020", "Macias2018", "Freudenreich1998", "Navarro1997", "Lorimer2006"}
    wanted |= {"Bradbury2018", "Durkan2019"}
    assert wanted <= set(found)
    others = {"Nishiyama2013", "Abdollahi2020", "MishraSharma2022", "Hoffman2014", "Vehtari2015", "Kingma2016"}
    assert not others & set(found)
    assert len(set(found)) == len(found)


def test_the_demo_cites_no_maps() -> None:
    found = set(keys(read_model("fiducial"), {"demo"}, SVI))
    assert not found & {"Atwood2009", "Buschmann2020", "Calore2015", "Acero2015", "Macias2019", "Su2010"}
    assert {"Navarro1997", "Lorimer2006", "MishraSharma2017"} <= found


@pytest.mark.parametrize(
    ("method", "settings", "wanted", "others"),
    [
        ("nuts", {}, {"Hoffman2014", "Cabezas2024", "Vehtari2021"}, {"Kingma2014", "Durkan2019"}),
        (
            "svi",
            {},
            {"Kingma2014", "Czarnecki2017", "Durkan2019", "Roeder2017", "FlowJAX"},
            {"Li2016", "Tucker2018", "Phan2019"},
        ),
        ("svi", {"guide": "iaf"}, {"Kingma2014", "Kingma2016", "Phan2019"}, {"Durkan2019", "FlowJAX", "Roeder2017"}),
        ("svi", {"alpha": 0.5, "emulator": False}, {"Li2016", "Tucker2018"}, set()),
        ("svi", {"alpha": 0.5, "guide": "iaf", "emulator": False}, {"Li2016"}, {"Tucker2018"}),
        ("svi", {"emulator": False}, {"Kingma2014"}, {"Czarnecki2017"}),
        ("svi", {"guide": "of somebody else's", "alpha": None}, {"Kingma2014"}, {"Durkan2019", "Li2016"}),
        ("laplace", {"steps": 5}, set(), {"Kingma2014", "Hoffman2014", "Durkan2019"}),
    ],
)
def test_methods(method: str, settings: dict[str, object], wanted: set[str], others: set[str]) -> None:
    found = {work.key for work in works_of_method(method, settings)}
    assert wanted <= found
    assert not others & found


def test_methods_and_guides_by_name() -> None:
    assert works_of_methods(["NUTS"]) == list(works_of_method("nuts", {}))
    assert (
        works_of_methods(["iaf"]) == works_of_methods(["svi", "iaf"]) == list(works_of_method("svi", {"guide": "iaf"}))
    )
    assert works_of_methods([]) == []
    with pytest.raises(InputError, match="unknown method or guide 'nust'; did you mean 'nuts'"):
        works_of_methods(["svi", "nust"])


def test_diagnostics_are_cited_where_they_were_measured() -> None:
    assert [work.key for work in works_measured({"k_hat": 0.3, "r_hat_max": None})] == ["Vehtari2015", "Yao2018"]
    assert [work.key for work in works_measured({"r_hat_max": 1.0})] == ["Vehtari2021"]


def test_bars_cite_where_their_falloff_is_from() -> None:
    def cited(bar: dict[str, object]) -> set[str]:
        table = read_model("fiducial").model_dump(mode="json")
        table["components"][0]["template"] = {"bar": bar}
        table["parameters"] = {name: table["parameters"][name] for name in table["parameters"] if name != "theta_pib"}
        return set(keys(model_from_table(table), {"demo"}))

    assert "Freudenreich1998" in cited({})
    assert not {"Dwek1995", "Cao2013"} & cited({})
    assert {"Freudenreich1998", "Dwek1995", "Cao2013"} <= cited({"falloff": "bessel_k0"})


def test_auto_rests_on_an_emulator_chains_and_a_bridge() -> None:
    found = set(keys(read_model("fiducial"), {"fermi"}, works_of_methods(["auto"])))
    assert {"Czarnecki2017", "Neal2001", "Hoffman2014", "Cabezas2024", "Vehtari2021"} <= found
    assert {"Meng1996", "Fruehwirth2004"} <= found
    assert not {"Kingma2014", "Durkan2019", "Kingma2016", "Li2016"} & found


def test_the_model_of_a_preset_is_cited() -> None:
    assert "MishraSharma2022" in keys(read_model("gce_flows"), {"fermi"})
    for name in presets():
        assert {work.key for work in NptfTerm.citations} <= set(keys(read_model(name), ()))


def test_a_reference_that_is_not_listed_comes_as_its_identifier() -> None:
    model = read_model("fiducial").model_copy(update={"reference": "Somebody, arXiv:1402.6703; arXiv:1902.10045"})
    found = {work.key: work for work in citations(model, [dataset_named("demo")])}
    assert {key for key in found if key.startswith("arXiv")} == {"arXiv1402.6703"}
    only = found["arXiv1402.6703"]
    assert "eprint        = {1402.6703}" in only.bibtex
    assert "author" not in only.bibtex
    assert "complete the entry" in only.why
    assert "Abdollahi" in found["Abdollahi2020"].bibtex  # the package has its entry


def demo_with(**fields: object) -> Manifest:
    """The manifest of the demo, with other fields."""
    return Manifest.model_validate({**dataset_named("demo").model_dump(), **fields})


def test_a_data_set_of_ones_own_says_what_to_cite() -> None:
    text = demo_with(citation="arXiv:2604.08648 and arXiv:1402.6703")
    found = [work.key for work in citations(read_model("fiducial"), [text])]
    assert "arXiv1402.6703" in found
    assert "arXiv2604.08648" not in found  # its entry is there
    works = [
        {"why": "gas maps", "names": ["O*"], "bibtex": "@misc{Gas2030,\n  title = {Gas}\n}"},
        {"why": "a map that is not used", "names": ["coleman2019"], "bibtex": "@misc{Other2030,\n  title = {Other}\n}"},
        {"why": "the halo", "bibtex": "arXiv:astro-ph/9611107"},
    ]
    own = citations(read_model("gce_flows"), [demo_with(works=works, citation="arXiv:1402.6703")])
    assert {"Gas2030", "Navarro1997"} <= {work.key for work in own}
    assert "the halo" in {work.why for work in own}
    assert not {"Other2030", "arXiv1402.6703"} & {work.key for work in own}


@pytest.mark.parametrize(
    ("work", "message"),
    [
        ({"names": ["opi"], "bibtex": "arXiv:1402.6703"}, "unknown map or mask 'opi'; did you mean 'Opi'"),
        ({"bibtex": "Smith et al. 2030"}, "pattern"),
    ],
)
def test_works_of_a_manifest_are_checked(work: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo_with(works=[{"why": "something", **work}])


def test_bibtex_says_what_each_is_for() -> None:
    text = bibtex(citations(read_model("fiducial"), [dataset_named("fermi")]))
    assert text.startswith("% the software\n@misc{gammasky,")
    assert "@VERSION@" not in text
    assert text.endswith("}\n")


def test_data_sets_are_known_by_their_files() -> None:
    files = read_manifest(shipped_manifests()["fermi"]).files
    name, file = next(iter(files.items()))

    def found(name: str, checksums: dict[str, str]) -> list[str]:
        return [manifest.name for manifest in datasets_of(name, checksums)]

    assert found("sky_0001", {name: file.sha256}) == ["fermi"]
    assert found("fermi", {name: "0" * 64}) == []
    assert found("demo", {"demo_counts.npy": "0" * 64}) == ["demo"]
    assert found("mine", {}) == []


def test_data_sets_by_name_and_manifest(tiny_files: Path, tmp_path: Path) -> None:
    assert dataset_named("fermi").name == "fermi"
    assert dataset_named(str(tiny_files / "sky")) == read_manifest(tiny_files / "sky" / "dataset.toml")
    sky = tmp_path / "sky.toml"
    sky.write_text('base = "fermi"\nname = "sky_0"\ncounts = { file = "counts.fits" }\n', encoding="utf-8")
    assert dataset_named(str(sky)).name == "fermi"


def test_no_such_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown data set 'fermy'; did you mean 'fermi'"):
        dataset_named("fermy")
    with pytest.raises(InputError, match=r"not found; give a dataset\.toml"):
        dataset_named(str(tmp_path / "none.toml"))
