"""The report: one page that needs nothing from outside, and shows what the fit has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jinja2 import UndefinedError

from gammasky.engine.infer.report import write_report
from gammasky.engine.infer.report.html import Cell, Table, rendered
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast")

PAGES = "gammasky.engine.infer.report"  # whose templates are filled in


def test_the_page_needs_nothing_from_outside(folder: Any, parsed: Any) -> None:
    written = write_report(folder.path)
    assert written == folder.path / "report.html"
    text = written.read_text(encoding="utf-8")
    page = parsed(text)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    outside = [link for link in page.links if not link.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert "url(" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.tags.count("h1") == 1


def test_what_the_page_shows(folder: Any) -> None:
    page = folder.page()
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


def test_the_prior_of_derived_numbers_is_beside_their_posterior(folder: Any) -> None:
    page = folder.page()
    page.shows("PS fraction (all)", "flux (smooth)", "is that of 2,000 draws from it", "Before the data, 90 %: ")
    assert page.source.count('class="prior"') == page.source.count('class="posterior"')
    with folder.posterior() as tree:  # as of an older version
        del tree["prior"]
    older = folder.page()
    older.hides("PS fraction (all)", "flux (smooth)", "draws from it", "Before the data")
    assert older.source.count('class="prior"') < page.source.count('class="prior"')


def test_what_is_absent_is_not_mentioned(folder: Any) -> None:
    page = folder.page()
    assert not {"verdict", "methods"} & set(page.ids)
    page.hides("k-hat", "R-hat", "truth", "Simulated", "reweighted", "Optima", "Remedy")


def test_names_are_escaped(folder: Any) -> None:
    folder.change_summary(model_name="a<b>&'\"")
    folder.change_posterior(model_name="a<b>&'\"")
    page = folder.page()
    assert "b" not in page.tags
    assert page.text.count("a<b>&'\"") == 2  # title and heading


def test_all_text_is_escaped_but_an_element_that_the_code_names(parsed: Any) -> None:
    table = Table(["<h>"], [["<i>", Cell("<b>", "<n>", "strong")]], "<c>")
    text = str(rendered("diagnostics.html", PAGES, tables=[table], picture=None))
    page = parsed(text)
    assert set(page.tags) == {"div", "table", "caption", "thead", "tr", "th", "tbody", "td", "strong", "small"}
    assert "<strong>&lt;b&gt;</strong>" in text
    for words in ("<h>", "<i>", "<b>", "<n>", "<c>"):
        assert words in page.text


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'picture' is undefined"):
        rendered("diagnostics.html", PAGES, tables=[])


def test_truth_beside_posterior(folder: Any, tiny_model: SkyModel) -> None:
    truth = {"S_flat": 2.0, "Sps": 3.0, "mix": (0.7, 0.3)}
    manifest = tiny_model.dataset.manifest.model_copy(update={"truth": truth})
    folder.write_fit(SkyModel(tiny_model.spec, replace(tiny_model.dataset, manifest=manifest)))
    page = folder.page()
    assert "Simulated with 0.60." in page.text
    assert "sources, truth" in page.text
    assert page.text.count("truth") >= 4


def test_numbers_that_are_not_finite_are_dashes(folder: Any) -> None:
    folder.change_summary(diagnostics={"k_hat": None, "ess": 12.0}, fit={"elbo": None, "status": "diverged"})
    text = folder.page().text
    assert "k-hat" not in text
    assert "diverged" in text


def test_a_p_value_that_is_not_finite_is_no_good_sign(folder: Any) -> None:
    band = folder.summary()["predictive_checks"]["bands"][0]
    folder.change_summary(predictive_checks={"replicas": 200, "bands": [{**band, "p_dispersion": None}]})
    page = folder.page()
    page.shows("0 of 2 p-values are below 0.05")
    assert "<strong>–</strong>" in page.source
