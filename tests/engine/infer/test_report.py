"""The report: one page that needs nothing from outside, with the right numbers, and one line for bad input."""

from __future__ import annotations

import io
import json
import math
import shutil
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from jinja2 import UndefinedError
from matplotlib.image import imsave

from gammasky.engine.errors import InputError
from gammasky.engine.files import write_json
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.posterior import write_posterior
from gammasky.engine.infer.report import read_fit, report_page, sources, write_report
from gammasky.engine.infer.report.html import Cell, Table, rendered
from gammasky.engine.infer.report.numbers import number
from gammasky.engine.infer.report.provenance import works_of
from gammasky.engine.infer.report.sky import catalogue_thresholds
from gammasky.engine.infer.summary import summarise
from gammasky.engine.model import SkyModel, read_model
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.manifest import read_manifest, shipped_manifests

pytestmark = pytest.mark.usefixtures("compiled_fast")

PAGES = "gammasky.engine.infer.report"  # whose templates are filled in
BAND = ("coordinate", "low", "high", "counts", "expected", "p_counts", "p_dispersion")
BANDS = [
    dict(zip(BAND, ("radius", 0.0, 20.0, 900, 910.2, 0.7, 0.4), strict=True)),
    dict(zip(BAND, ("latitude", -20.0, -7.0, 300, 250.0, 0.01, 0.2), strict=True)),
]
REASONS = ["k-hat 0.82 > 0.7", "<script>alert(1)</script>"]
VERDICT = {"level": "unreliable", "reasons": REASONS, "remedy": "fit --method auto"}
DIAGNOSTICS = {"method": "svi", "log_z": -1234.567, "log_z_error": 0.1, "k_hat": 0.82}
CHAINS = {"r_hat_max": 1.0042, "ess_bulk_min": 837.86, "ess_tail_min": 1105.99, "slowest": "Sps", "divergent": 0.0025}
NUTS = {"method": "nuts", **CHAINS, "gradients": 1_918_710, "leapfrogs": 28.248, "step_size": 0.1734}
LAPLACE = {
    "method": "laplace",
    "elbo": -1240.5,
    "elbo_error": 0.04,
    "laplace_log_evidence": -1236.25,
    "optima": [{"log_density": -1229.75, "starts": 6}, {"log_density": -1233.5, "starts": 2}],
}
GUIDE = {"elbo": -1235.125, "elbo_error": 0.0125, "log_z": -1234.5, "log_z_error": 0.08, "k_hat": 0.6566, "ess": 673.8}
AUTO = {
    "method": "auto",
    "result": "nuts",
    "log_z": -1234.125,
    "log_z_error": 0.027,
    "log_z_by_method": {
        "svi, importance weights": [-1234.5, 0.08],
        "bridge between svi and nuts": [-1234.125, 0.027],
    },
    **{name: GUIDE[name] for name in ("elbo", "elbo_error", "k_hat")},
    **CHAINS,
    "gradients": 191_871,
}


class Page(HTMLParser):
    """What a page consists of, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text, self.source = "", text
        self.feed(text)
        self.close()
        assert self.open == []

    def shows(self, *words: str) -> None:
        assert [entry for entry in words if entry not in self.text] == []

    def hides(self, *words: str) -> None:
        assert [entry for entry in words if entry in self.text] == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        self.ids += [value or "" for name, value in attributes if name == "id"]
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data.replace("\n", " ")


@pytest.fixture(scope="module")
def model(tiny_files: Path) -> SkyModel:
    return SkyModel(read_model(tiny_files / "model.toml"), Dataset.open(tiny_files / "sky"))


@pytest.fixture(scope="module")
def made(model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit; not to be written to."""
    folder = tmp_path_factory.mktemp("fit")
    write_fit(folder, model)
    (folder / "elbo.csv").write_text("step,elbo\n1,-1300\n2,-1250\n", encoding="utf-8")
    (folder / "figures").mkdir()
    imsave(folder / "figures" / "maps.png", np.random.default_rng(0).random((6, 8)))
    return folder


def write_fit(folder: Path, model: SkyModel) -> None:
    """The posterior and the summary of 400 prior draws."""
    z = np.random.default_rng(3).normal(size=(400, model.n_latent))
    derived = derive(model, z)
    info = {"guide": "mvn", "seed": 3, "status": "converged", "elbo": -1234.5, "elbo_error": 0.2, "steps": 10}
    checks = {"replicas": 200, "bands": BANDS}
    write_json(folder / "summary.json", {**summarise(model, derived, info), "predictive_checks": checks})
    zeros = np.zeros(len(z))
    write_posterior(
        folder / "posterior.nc", model, z, log_likelihood=zeros, log_guide=zeros, attributes=info, derived=derived
    )


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "fit"))


def page_of(folder: Path) -> Page:
    return Page(report_page(read_fit(folder)))


def change_summary(folder: Path, **entries: Any) -> None:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    (folder / "summary.json").write_text(json.dumps({**summary, **entries}), encoding="utf-8")


def change_posterior(folder: Path, **attributes: Any) -> None:
    with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        tree.load()
    tree.attrs.update(attributes)
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))


def test_the_page_needs_nothing_from_outside(folder: Path) -> None:
    written = write_report(folder)
    assert written == folder / "report.html"
    text = written.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    outside = [link for link in page.links if not link.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert "url(" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.tags.count("h1") == 1


def test_what_the_page_shows(folder: Path) -> None:
    page = page_of(folder)
    wanted = "headline maps sources fluxes predictive priors diagnostics configuration cite"
    assert [name for name in page.ids if name != "verdict"] == wanted.split()
    assert "corner" not in page.ids  # the folder has no such figure
    page.shows(
        "Point-source fraction of the group “all”",
        "Number of sources",
        "200 skies replicated",
        "1 of 4 p-values are below 0.05",
        "ELBO [nat]",
        "−1,234.50",
        "[[components]]",
        "MishraSharma2017",
        "counts.npy",
        "mix[flat]",
    )


def test_what_is_absent_is_not_mentioned(folder: Path) -> None:
    page = page_of(folder)
    assert not {"verdict", "methods"} & set(page.ids)
    page.hides("k-hat", "R-hat", "truth", "Simulated", "reweighted", "Optima", "Remedy")


@pytest.mark.parametrize("place", ["summary", "posterior"])
def test_verdict_first_and_diagnostics(folder: Path, place: str) -> None:
    if place == "summary":
        change_summary(folder, verdict=VERDICT, diagnostics=DIAGNOSTICS)
    else:
        change_posterior(folder, verdict=json.dumps(VERDICT), diagnostics=json.dumps(DIAGNOSTICS))
    page = page_of(folder)
    assert page.ids[0] == "verdict"
    assert 'class="verdict unreliable"' in page.source
    assert "script" not in page.tags
    page.shows(*REASONS, "fit --method auto", "−1,234.57 ± 0.10", "0.82", "Vehtari2015")  # the paper behind k-hat


def test_no_remedy_where_none_is_needed(folder: Path) -> None:
    change_summary(folder, verdict={"level": "reliable", "reasons": ["4 chains agree"], "remedy": ""})
    page = page_of(folder)
    page.shows("4 chains agree")
    page.hides("Remedy")


def in_chains(folder: Path, chains: int) -> None:
    """The same draws as those of several chains."""
    with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        tree.load()
    for group in ("posterior", "sample_stats"):
        flat = tree[group].to_dataset()
        parts = np.split(np.arange(flat.sizes["draw"]), chains)
        split = [flat.isel(draw=part).assign_coords(draw=np.arange(len(part))) for part in parts]
        joined_ = xarray.concat(split, dim="chain").assign_coords(chain=np.arange(chains))
        tree[group] = xarray.DataTree(joined_)
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))


def of_method(folder: Path, diagnostics: dict[str, Any], **entries: Any) -> None:
    """Make of the folder one of a method without steps of an optimiser."""
    with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        tree.load()
    for name in ("elbo", "elbo_error"):
        del tree.attrs[name]
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
    (folder / "elbo.csv").unlink()
    fit = {"method": diagnostics["method"], "guide": "mvn", "steps": 7654, "alpha": 1.0, "chains": 4, "population": 512}
    fit |= {"status": "finished", "steps_done": 0, "laplace_log_density": -1229.75, "laplace_log_evidence": -1236.25}
    change_summary(folder, diagnostics=diagnostics, fit=fit, **entries)


def test_chains(folder: Path) -> None:
    before = read_fit(folder).posterior.columns()
    of_method(folder, NUTS)
    in_chains(folder, 4)
    fit = read_fit(folder)
    assert all(np.array_equal(before[name], values) for name, values in fit.posterior.columns().items())
    page = Page(report_page(fit))
    assert "methods" not in page.ids
    assert "method nuts" in page.text
    page.shows("1.004", "838", "1,106", "0.25 %", "1,918,710", "28.25", "Hoffman2014", "Cabezas2024", "Vehtari2021")
    page.hides("ELBO", "k-hat", "7654", "Kingma2014", "Durkan2019", "r hat", "divergences")
    assert page.text.count("−1,236.25") == 1


def test_optima(folder: Path) -> None:
    of_method(folder, LAPLACE)
    page = page_of(folder)
    page.shows("Optima", "−1,233.50", "−1,240.500 ± 0.040")
    assert page.text.count("−1,229.75") == 1  # not among the numbers of the fit as well
    assert page.text.count("−1,236.25") == 1
    change_summary(folder, diagnostics={**LAPLACE, "optima": [3]})
    with pytest.raises(InputError, match="damaged optima; run the fit again"):
        report_page(read_fit(folder))


def test_weights_beside_draws(folder: Path, model: SkyModel, made: Path) -> None:
    posterior = read_fit(made).posterior
    derived = {name: posterior.draws[name] for name in posterior.draws}
    weights = np.exp(posterior.draws["S_flat"])
    weights /= weights.sum()
    fit = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["fit"]
    change_summary(folder, **summarise(model, derived, fit, weights))
    page = page_of(folder)
    assert page.ids.index("methods") == page.ids.index("headline") + 1
    assert "Draws and their weights" in page.text
    draws = posterior.draws["S_flat"]
    shift = (weights @ draws - draws.mean()) / draws.std(ddof=1)
    assert shift > 0.2
    assert f"<strong>+{shift:.2f}</strong>" in page.source
    entry = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["parameters"]["S_flat"]
    row = page.text.partition("Draws and their weights")[2].partition("S_flat")[2]
    spread = 0.5 * (entry["q84"] - entry["q16"])
    expected = [
        number(numbers[name], spread) for numbers in (entry, entry["weighted"]) for name in ("q50", "q05", "q95")
    ]
    assert row.startswith("{} ({} – {}){} ({} – {})".format(*expected) + f"+{shift:.2f}")
    assert "PS fraction (all)" in page.text


def test_no_shift_of_a_fixed_number(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    fixed = dict.fromkeys(("mean", "q05", "q16", "q50", "q84", "q95"), 2.0) | {"sd": 0.0}
    summary["parameters"]["S_flat"] = {**fixed, "weighted": fixed, "unit": ""}
    change_summary(folder, **summary)
    assert "S_flat2.000 (2.000 – 2.000)2.000 (2.000 – 2.000)–" in page_of(folder).text


def stages(folder: Path) -> list[dict[str, Any]]:
    """Of a fit by `auto`: the marginals of each method differ."""
    parameters = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["parameters"]
    names = ("S_flat", "Sps")
    moved = [
        {name: {key: value + add for key, value in parameters[name].items() if key != "unit"} for name in names}
        for add in (0.0, 100.0, 200.0)
    ]
    guide = {**GUIDE, "gradients": 40_000, "seconds": 134.4}
    return [
        {**guide, "method": "svi", "marginals": moved[0]},
        {**guide, "method": "svi, reweighted", "marginals": moved[1]},
        {**CHAINS, "gradients": 151_871, "log_z": -1234.125, "log_z_error": 0.027, "seconds": 479.1, "method": "nuts",
         "marginals": moved[2]},
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["summary", "posterior"])
def test_methods_side_by_side(folder: Path, place: str) -> None:
    found = stages(folder)
    fit = {"method": "auto", "guide": "flow", "seed": 3, "status": "finished", "steps_done": 5000, "alpha": 1.0}
    change_posterior(folder, guide="flow")
    change_summary(folder, diagnostics=AUTO, fit=fit)
    if place == "summary":
        change_summary(folder, stages=found)
    else:
        change_posterior(folder, stages=json.dumps(found))
    page = page_of(folder)
    assert page.ids.index("methods") == page.ids.index("headline") + 1
    shown = page.text.partition("Methods side by side")[2].partition("Maps")[0]
    assert "quantitysvisvi, reweightednuts" in shown
    for row in (
        "time [s]134479",
        "gradients40,000151,871",
        "ELBO [nat]−1,235.125 ± 0.013",
        "log Z [nat]−1,234.500 ± 0.080−1,234.125 ± 0.027",
        "k-hat0.66",
        "ESS674838",
        "R-hat1.004",
    ):
        assert row in shown, row
    entry = found[0]["marginals"]["Sps"]
    spread = 0.5 * (entry["q84"] - entry["q16"])
    for stage in found:
        assert f"{number(stage['marginals']['Sps']['q50'], spread)} (" in shown
    rest = page.text.partition("Diagnosticsdiagnostic")[2].partition("Configuration")[0]
    assert "the draws are those ofnuts" in rest
    assert "191,871" in rest
    for words in ("−1,234", "−1,235", "0.66", "838", "R-hat", "1.004"):
        assert words not in rest, words  # not shown twice
    page.shows("Meng1996", "Durkan2019", "Roeder2017", "Cabezas2024", "Vehtari2015", "Vehtari2021")
    page.hides("DelMoral2006", "Li2016", "Tucker2018", "Phan2019")


@pytest.mark.parametrize("damaged", [[{"method": "svi"}], ["svi"], {"a": 1}])
def test_damaged_stages(folder: Path, damaged: Any) -> None:
    change_summary(folder, stages=damaged)
    with pytest.raises(InputError, match="damaged stages or weights; run the fit again"):
        report_page(read_fit(folder))


@pytest.mark.parametrize(
    ("settings", "cited", "not_cited"),
    [
        (("svi", "flow", 1.0), "Durkan2019 Roeder2017 Kingma2014", "Li2016 Tucker2018 Phan2019"),
        (("svi", "flow", 0.5), "Durkan2019 Li2016 Tucker2018", "Hoffman2014 Meng1996"),
        (("svi", "iaf", 0.0), "Kingma2016 Phan2019 Li2016", "Tucker2018 Durkan2019"),
        (("svi", "mvn", 1.0), "Kingma2014", "Kingma2016 Phan2019 Durkan2019 Roeder2017"),
        (("nuts", "flow", 0.5), "Hoffman2014 Cabezas2024", "Durkan2019 Kingma2014 Li2016 Meng1996"),
        (("laplace", "flow", 0.5), "MishraSharma2026", "Kingma2014 Durkan2019 Li2016 Cabezas2024"),
        (("auto", "flow", 0.5), "Durkan2019 Li2016 Tucker2018 Meng1996", "Kingma2016 Phan2019"),
        ((None, "iaf", None), "Kingma2016", "Durkan2019 Li2016"),
        (("of somebody else's", "iaf", None), "MishraSharma2026", "Kingma2016"),
    ],
)
def test_works_of_a_method(
    folder: Path, settings: tuple[str | None, str, float | None], cited: str, not_cited: str
) -> None:
    change_posterior(folder, guide=settings[1])
    change_summary(folder, fit=dict(zip(("method", "guide", "alpha"), settings, strict=True)))
    found = {work.key for work in works_of(read_fit(folder))}
    assert set(cited.split()) <= found
    assert not set(not_cited.split()) & found


@pytest.mark.parametrize("level", ["reliable", "preview", "odd <level>"])
def test_levels(folder: Path, level: str) -> None:
    change_summary(folder, verdict={"level": level})
    text = report_page(read_fit(folder))
    assert f'class="verdict {escape(level)}"' in text
    assert level in Page(text).text


def test_names_are_escaped(folder: Path) -> None:
    change_summary(folder, model_name="a<b>&'\"")
    change_posterior(folder, model_name="a<b>&'\"")
    text = report_page(read_fit(folder))
    assert "b" not in Page(text).tags
    assert Page(text).text.count("a<b>&'\"") == 2  # title and heading


def test_truth_beside_posterior(folder: Path, model: SkyModel) -> None:
    truth = {"S_flat": 2.0, "Sps": 3.0, "mix": (0.7, 0.3)}
    manifest = model.dataset.manifest.model_copy(update={"truth": truth})
    write_fit(folder, SkyModel(model.spec, replace(model.dataset, manifest=manifest)))
    page = page_of(folder)
    assert "Simulated with 0.60." in page.text
    assert "sources, truth" in page.text
    assert page.text.count("truth") >= 4


def test_intensities_need_the_exposure(folder: Path) -> None:
    with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        tree.load()
    pixels = tree["constant_data"].to_dataset()
    pixels["exposure"] = ("pixel", np.full(pixels.sizes["pixel"], 1e11))
    tree["constant_data"] = xarray.DataTree(pixels)
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
    fit = read_fit(folder)
    area = 4 * math.pi / 3072
    middle = float(np.median(fit.posterior.draws["flux"][:, 0])) / (1e11 * area) * 1e7
    assert sources.pixel_area_sr(fit.posterior) == pytest.approx(area)
    page = Page(report_page(fit))
    assert f"{middle:.3f}" in page.text
    assert "intensity (10⁻⁷)" in page.text
    tree["constant_data"] = xarray.DataTree(pixels.drop_vars("exposure"))
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
    assert "does not hold the exposure" in report_page(read_fit(folder))


def test_a_threshold_that_is_given(folder: Path) -> None:
    text = Page(report_page(read_fit(folder), threshold=33.0)).text
    assert "The catalogue threshold of 33 photons was given." in text
    assert "above 33 photons" in text


def test_the_threshold_of_a_catalogue_that_the_data_set_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fermi = read_manifest(shipped_manifests()["fermi"])
    monkeypatch.setattr("gammasky.engine.infer.report.sky.datasets_of", lambda _name, _checksums: [fermi])
    fit = read_fit(folder)
    low, high = (flux * sources.reference_exposure_cm2_s(fit.posterior) for flux in (4e-10, 5e-10))
    assert catalogue_thresholds(fit) == {"3FGL": (pytest.approx(low), pytest.approx(high))}
    text = Page(report_page(fit)).text
    assert f"sources of 3FGL begin to be resolved, {low:.0f} to {high:.0f} photons" in text
    assert f"above {high:.0f} photons" in text
    assert "5 σ" not in text
    assert "given" in Page(report_page(fit, threshold=33.0)).text


def test_dnds_and_numbers_are_those_of_the_model(made: Path, model: SkyModel) -> None:
    posterior = read_fit(made).posterior
    values, chosen = posterior.dnds["sources"], posterior.source_draws[:5]
    found = sources.number_of_sources(posterior, "sources", posterior.draws["flux"][chosen], values[:5], 1.0)
    grid = np.geomspace(0.1, 50.0, 60)
    np.testing.assert_allclose(posterior.spec.source_grid.points(), grid, rtol=1e-14)
    for row, draw in enumerate(chosen):
        sky = model.sky(model.point({name: posterior.draws[name][draw] for name in ("S_flat", "Sps", "mix")}))
        direct, template = np.asarray(sky.dnds["sources"]), np.asarray(sky.templates["sources"])
        np.testing.assert_allclose(values[row], direct, rtol=1e-6)  # kept in single precision
        above = np.trapezoid(np.where(grid >= 1.0, direct, 0.0)[grid >= 1.0], grid[grid >= 1.0])
        first = grid[grid >= 1.0][0]
        above += (first - 1.0) * 0.5 * (np.interp(1.0, grid, direct) + np.interp(first, grid, direct))
        assert found[row] == pytest.approx(template[: model.pixels.n_region].sum() * above, rel=1e-6)


def test_pixels_of_the_region(made: Path, model: SkyModel) -> None:
    posterior = read_fit(made).posterior
    assert sources.pixels_of_region(posterior) == model.pixels.n_region
    posterior.pixels.attrs["n_region"] = 17
    assert sources.pixels_of_region(posterior) == 17


def test_all_text_is_escaped_but_an_element_that_the_code_names() -> None:
    table = Table(["<h>"], [["<i>", Cell("<b>", "<n>", "strong")]], "<c>")
    text = str(rendered("diagnostics.html", PAGES, tables=[table], picture=None))
    page = Page(text)
    assert set(page.tags) == {"div", "table", "caption", "thead", "tr", "th", "tbody", "td", "strong", "small"}
    assert "<strong>&lt;b&gt;</strong>" in text
    for words in ("<h>", "<i>", "<b>", "<n>", "<c>"):
        assert words in page.text


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'picture' is undefined"):
        rendered("diagnostics.html", PAGES, tables=[])


# --- bad input -------------------------------------------------------------------------------------------------------


def test_no_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_fit(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no posterior\.nc"):
        read_fit(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    with pytest.raises(InputError, match="holds an unfinished fit"):
        read_fit(tmp_path)
    with pytest.raises(InputError, match="expected the folder of a fit, got a file"):
        read_fit(tmp_path / "checkpoint.npz")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("posterior.nc", b"rubbish", "not a NetCDF file, or damaged"),
        ("summary.json", b"{", "not JSON, or damaged"),
        ("summary.json", b"[]", "damaged, expected a table 'parameters'"),
        ("summary.json", b"{}", "damaged, expected a table 'parameters'"),
        ("summary.json", b"\xff\xfe", "not JSON, or damaged"),
        ("elbo.csv", b"step,elbo\nsome,thing\n", "not a table of step and ELBO"),
        ("figures/maps.png", b"GIF89a", "not a PNG image, or damaged"),
    ],
)
def test_damaged_files(folder: Path, file: str, content: bytes, message: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        report_page(read_fit(folder))


def test_missing_files(folder: Path) -> None:
    (folder / "elbo.csv").unlink()
    shutil.rmtree(folder / "figures")
    page_of(folder)  # neither is needed
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json: no such file"):
        read_fit(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_name": "other"}, "of different fits .model_name other and tiny."),
        ({"dataset": "other"}, "of different fits .dataset other and tiny."),
        ({"data_sha256": {"counts.npy": "0"}}, "of different fits .data_sha256 differs."),
        ({"draws": 3}, "of different fits .draws 3 and 400."),
        ({"fit": {"elbo": -7.0}}, r"of different fits .elbo -7\.0 and -1234\.5."),
        ({"verdict": "fine"}, "damaged, expected a table 'verdict'"),
        ({"flux": {"smooth": 3}}, "damaged, expected a table 'smooth'"),
        ({"predictive_checks": {"bands": [{"coordinate": "radius"}]}}, "damaged predictive_checks"),
    ],
)
def test_summary_of_another_fit(folder: Path, entries: dict[str, Any], message: str) -> None:
    change_summary(folder, **entries)
    with pytest.raises(InputError, match=message):
        report_page(read_fit(folder))


def test_numbers_that_are_not_finite_are_dashes(folder: Path) -> None:
    change_summary(folder, diagnostics={"k_hat": None, "ess": 12.0}, fit={"elbo": None, "status": "diverged"})
    text = page_of(folder).text
    assert "k-hat" not in text
    assert "diverged" in text


def test_a_p_value_that_is_not_finite_is_no_good_sign(folder: Path) -> None:
    change_summary(folder, predictive_checks={"replicas": 200, "bands": [{**BANDS[0], "p_dispersion": None}]})
    page = page_of(folder)
    page.shows("0 of 2 p-values are below 0.05")
    assert "<strong>–</strong>" in page.source


@pytest.mark.parametrize(("attribute", "message"), [("{}", "no model that this version"), ("x", "no model that this")])
def test_model_that_cannot_be_read(folder: Path, attribute: str, message: str) -> None:
    change_posterior(folder, model=attribute)
    with pytest.raises(InputError, match=message):
        read_fit(folder)


def test_posterior_without_a_parameter_or_of_an_older_version(folder: Path) -> None:
    with xarray.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        tree.load()
    tree["posterior"] = xarray.DataTree(tree["posterior"].to_dataset().drop_vars("Sps"))
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
    with pytest.raises(InputError, match="damaged, has no "):
        read_fit(folder)
    del tree["predictions"]
    (folder / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))
    with pytest.raises(InputError, match="written by an older version, without predictions"):
        read_fit(folder)


def test_the_figure_of_source_counts_is_a_picture(made: Path) -> None:
    text = report_page(read_fit(made))
    import base64

    from matplotlib.image import imread

    pictures = [base64.b64decode(part.split('"')[0]) for part in text.split("data:image/png;base64,")[1:]]
    assert len(pictures) == 2  # maps and dN/dS
    assert imread(io.BytesIO(pictures[1])).std() > 0.02
