"""What to cite: entries that BibTeX can read, and the right ones for each model, data set and method."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.citations import (
    DEFAULT_METHODS,
    bibtex,
    citations,
    datasets_named,
    datasets_of,
    used,
)
from gammasky.engine.model import model_from_table, presets, read_model
from gammasky.engine.sky.manifest import read_manifest, shipped_manifests

KINDS = {"article", "misc", "inproceedings"}
SOFTWARE = {"gammasky", "FlowJAX"}  # which year depends on the version
CONDITIONS = {"dataset", "template", "catalogue", "profile", "method", "uses", "reference"}


def works() -> list[dict[str, object]]:
    text = (resources.files("gammasky.engine.infer") / "citations.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["works"]


def keys(*arguments: object, **options: object) -> list[str]:
    return [work.key for work in citations(*arguments, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("work", works(), ids=lambda work: str(work["why"]))
def test_entry_is_bibtex(work: dict[str, object]) -> None:
    text = str(work["bibtex"]).strip()
    kind, key = re.fullmatch(r"@(\w+)\{([\w]+),\n.*\}", text, re.DOTALL).groups()  # type: ignore[union-attr]
    assert kind in KINDS
    assert key
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
    assert set(work["when"]) <= CONDITIONS  # type: ignore[call-overload]


def test_keys_differ() -> None:
    found = [str(work["bibtex"]).partition("{")[2].partition(",")[0] for work in works()]
    assert len(set(found)) == len(found)


def test_the_fiducial_model_on_the_fermi_data() -> None:
    found = keys(read_model("fiducial"), {"fermi"}, DEFAULT_METHODS)
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
    found = set(keys(read_model("fiducial"), {"demo"}, DEFAULT_METHODS))
    assert not found & {"Atwood2009", "Buschmann2020", "Calore2015", "Acero2015", "Macias2019", "Su2010"}
    assert {"Navarro1997", "Lorimer2006", "MishraSharma2017"} <= found


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("nuts", "Hoffman2014"),
        ("NUTS", "Hoffman2014"),
        ("nuts", "Cabezas2024"),
        ("bridge between svi and nuts", "Meng1996"),
        ("bridge between svi and nuts", "Fruehwirth2004"),
        ("renyi", "Li2016"),
        ("dreg", "Tucker2018"),
        ("flow", "Durkan2019"),
        ("flow", "Roeder2017"),
        ("flow", "FlowJAX"),
        ("iaf", "Phan2019"),
        ("k_hat", "Vehtari2015"),
        ("r_hat_max", "Vehtari2021"),
        ("spline", "Durkan2019"),
        ("dynesty", "Speagle2020"),
    ],
)
def test_methods(method: str, key: str) -> None:
    model = read_model("fiducial")
    assert key in keys(model, {"fermi"}, [method])
    assert key not in keys(model, {"fermi"}, ["laplace"])


def test_bars_cite_where_their_falloff_is_from() -> None:
    def cited(bar: dict[str, object]) -> set[str]:
        table = read_model("fiducial").model_dump(mode="json")
        table["components"][0]["template"] = {"bar": bar}
        table["parameters"] = {name: table["parameters"][name] for name in table["parameters"] if name != "theta_pib"}
        return set(keys(model_from_table(table), {"demo"}, ()))

    assert "Freudenreich1998" in cited({})
    assert not {"Dwek1995", "Cao2013"} & cited({})
    assert {"Freudenreich1998", "Dwek1995", "Cao2013"} <= cited({"falloff": "bessel_k0"})


def test_auto_rests_on_a_flow_its_weights_chains_and_a_bridge() -> None:
    found = set(keys(read_model("fiducial"), {"fermi"}, ["auto"]))
    assert {"Durkan2019", "Kingma2014", "Roeder2017", "Vehtari2015", "Yao2018", "Hoffman2014", "Cabezas2024"} <= found
    assert {"Vehtari2021", "Meng1996", "Fruehwirth2004"} <= found
    assert not {"DelMoral2006", "Lee2018", "Kingma2016", "Phan2019", "Li2016", "Tucker2018", "Speagle2020"} & found


def test_the_model_of_a_preset_is_cited() -> None:
    assert "MishraSharma2022" in keys(read_model("gce_flows"), {"fermi"}, ())
    for name in presets():
        things = used(read_model(name), {"fermi"}, ())
        assert things["uses"] == {"points"}


def test_a_reference_that_is_not_listed_comes_as_its_identifier() -> None:
    model = read_model("fiducial").model_copy(update={"reference": "Somebody, arXiv:1402.6703; arXiv:astro-ph/0607640"})
    extra = [work for work in citations(model, {"fermi"}, ()) if work.key.startswith("arXiv")]
    assert [work.key for work in extra] == ["arXiv1402.6703"]
    assert "eprint        = {1402.6703}" in extra[0].bibtex
    assert "author" not in extra[0].bibtex
    assert "complete the entry" in extra[0].why


def test_texts_add_identifiers() -> None:
    found = keys(read_model("fiducial"), (), (), "arXiv:2604.08648 and arXiv:1402.6703")
    assert "arXiv1402.6703" in found
    assert "arXiv2604.08648" not in found  # listed in full


def test_bibtex_says_what_each_is_for() -> None:
    text = bibtex(citations(read_model("fiducial"), {"fermi"}, ()))
    assert text.startswith("% the software\n@misc{gammasky,")
    assert "@VERSION@" not in text
    assert text.endswith("}\n")


def test_data_sets_are_known_by_their_files() -> None:
    files = read_manifest(shipped_manifests()["fermi"]).files
    name, file = next(iter(files.items()))
    assert datasets_of("sky_0001", {name: file.sha256}) == {"fermi"}
    assert datasets_of("fermi", {name: "0" * 64}) == set()
    assert datasets_of("demo", {"demo_counts.npy": "0" * 64}) == {"demo"}
    assert datasets_of("mine", {}) == set()


def test_data_sets_by_name_and_manifest(tiny_files: Path, tmp_path: Path) -> None:
    assert datasets_named("fermi") == ({"fermi"}, "")
    assert datasets_named(str(tiny_files / "sky")) == (set(), "")
    sky = tmp_path / "sky.toml"
    sky.write_text('base = "fermi"\nname = "sky_0"\ncounts = { file = "counts.fits" }\n', encoding="utf-8")
    assert datasets_named(str(sky)) == ({"fermi"}, "")


def test_no_such_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown data set 'fermy'; did you mean 'fermi'"):
        datasets_named("fermy")
    with pytest.raises(InputError, match=r"not found; give a dataset\.toml"):
        datasets_named(str(tmp_path / "none.toml"))
