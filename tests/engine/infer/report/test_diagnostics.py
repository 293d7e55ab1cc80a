"""What the report says of the verdict, of diagnostics, of weights and of methods side by side."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.report import read_fit
from gammasky.engine.infer.report.emulator import emulator
from gammasky.engine.infer.report.numbers import number
from gammasky.engine.infer.report.provenance import works_of
from gammasky.engine.infer.summary import summarise
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast", "undrawn")

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
EMULATOR = {
    "method": "emulator",
    "log_z": -1234.5,
    "log_z_error": 0.08,
    "k_hat": 0.6566,
    "efficiency": 0.71,
    "gradients": 10_590,
    "r_hat_max": 1.0213,
    "ess_bulk_min": 673.8,
    "ess_tail_min": 912.0,
    "slowest": "S_flat",
    "coverage": -0.012,
    "rounds": [
        {"efficiency": 0.031, "k_hat": 1.21, "residual": 1.834, "cost": 2210, "points": 1804, "wall": 60.0},
        {"efficiency": 0.547, "k_hat": 0.43, "residual": 0.412, "cost": 2850, "points": 2444, "wall": 60.0},
    ],
    "tests": [
        {"coverage": -0.236, "error": 0.045, "missed": 0.041, "worst": 6.27},
        {"coverage": -0.012, "error": 0.021, "missed": 0.0031, "worst": 2.18},
    ],
    "accepted": [0.834, 0.957],
    "spent": {"likelihood": 25.3, "training": 28.1, "sampling": 20.4},
}
AUTO = {
    "method": "auto", "result": "nuts", "log_z": -1234.125, "log_z_error": 0.027, **CHAINS, "gradients": 162_461,
}  # fmt: skip


@pytest.mark.parametrize("place", ["summary", "posterior"])
def test_verdict_first_and_diagnostics(folder: Any, place: str) -> None:
    if place == "summary":
        folder.change_summary(verdict=VERDICT, diagnostics=DIAGNOSTICS)
    else:
        folder.change_posterior(verdict=json.dumps(VERDICT), diagnostics=json.dumps(DIAGNOSTICS))
    page = folder.page()
    assert page.ids[0] == "verdict"
    assert 'class="verdict unreliable"' in page.source
    assert "script" not in page.tags
    page.shows(*REASONS, "fit --method auto", "−1,234.57 ± 0.10", "0.82", "Vehtari2015")  # the paper behind k-hat


def test_no_remedy_where_none_is_needed(folder: Any) -> None:
    folder.change_summary(verdict={"level": "reliable", "reasons": ["4 chains agree"], "remedy": ""})
    page = folder.page()
    page.shows("4 chains agree")
    page.hides("Remedy")


@pytest.mark.parametrize("level", ["reliable", "preview", "odd <level>"])
def test_levels(folder: Any, level: str) -> None:
    folder.change_summary(verdict={"level": level})
    page = folder.page()
    assert f'class="verdict {escape(level)}"' in page.source
    assert level in page.text


def in_chains(folder: Any, chains: int) -> None:
    """The same draws as those of several chains."""
    with folder.posterior() as tree:
        for group in ("posterior", "sample_stats"):
            flat = tree[group].to_dataset()
            parts = np.split(np.arange(flat.sizes["draw"]), chains)
            split = [flat.isel(draw=part).assign_coords(draw=np.arange(len(part))) for part in parts]
            joined_ = xarray.concat(split, dim="chain").assign_coords(chain=np.arange(chains))
            tree[group] = xarray.DataTree(joined_)


def of_method(folder: Any, diagnostics: dict[str, Any], **entries: Any) -> None:
    """Make of the folder one of a method without steps of an optimiser."""
    with folder.posterior() as tree:
        for name in ("elbo", "elbo_error"):
            del tree.attrs[name]
    (folder.path / "elbo.csv").unlink()
    fit = {"method": diagnostics["method"], "guide": "mvn", "steps": 7654, "alpha": 1.0, "chains": 4, "population": 512}
    fit |= {"status": "finished", "steps_done": 0, "laplace_log_density": -1229.75, "laplace_log_evidence": -1236.25}
    folder.change_summary(diagnostics=diagnostics, fit=fit, **entries)


def test_chains(folder: Any) -> None:
    before = read_fit(folder.path).posterior.columns()
    of_method(folder, NUTS)
    in_chains(folder, 4)
    fit = read_fit(folder.path)
    assert all(np.array_equal(before[name], values) for name, values in fit.posterior.columns().items())
    page = folder.page()
    assert "methods" not in page.ids
    assert "method nuts" in page.text
    page.shows("1.004", "838", "1,106", "0.25 %", "1,918,710", "28.25", "Hoffman2014", "Cabezas2024", "Vehtari2021")
    page.hides("ELBO", "k-hat", "7654", "Kingma2014", "Durkan2019", "r hat", "divergences")
    assert page.text.count("−1,236.25") == 1


def test_optima(folder: Any) -> None:
    of_method(folder, LAPLACE)
    page = folder.page()
    page.shows("Optima", "−1,233.50", "−1,240.500 ± 0.040")
    assert page.text.count("−1,229.75") == 1  # not among the numbers of the fit as well
    assert page.text.count("−1,236.25") == 1
    folder.change_summary(diagnostics={**LAPLACE, "optima": [3]})
    with pytest.raises(InputError, match="damaged optima; run the fit again"):
        folder.page()


def test_weights_beside_draws(folder: Any, tiny_model: SkyModel, made: Path) -> None:
    posterior = read_fit(made).posterior
    derived = {name: posterior.draws[name] for name in posterior.draws}
    weights = np.exp(posterior.draws["S_flat"])
    weights /= weights.sum()
    fit = folder.summary()["fit"]
    folder.change_summary(**summarise(tiny_model, derived, fit, weights))
    page = folder.page()
    assert page.ids.index("methods") == page.ids.index("headline") + 1
    assert "Draws and their weights" in page.text
    draws = posterior.draws["S_flat"]
    shift = (weights @ draws - draws.mean()) / draws.std(ddof=1)
    assert shift > 0.2
    assert f"<strong>+{shift:.2f}</strong>" in page.source
    entry = folder.summary()["parameters"]["S_flat"]
    row = page.text.partition("Draws and their weights")[2].partition("S_flat")[2]
    spread = 0.5 * (entry["q84"] - entry["q16"])
    expected = [
        number(numbers[name], spread) for numbers in (entry, entry["weighted"]) for name in ("q50", "q05", "q95")
    ]
    assert row.startswith("{} ({} – {}){} ({} – {})".format(*expected) + f"+{shift:.2f}")
    assert "PS fraction (all)" in page.text


def test_no_shift_of_a_fixed_number(folder: Any) -> None:
    summary = folder.summary()
    fixed = dict.fromkeys(("mean", "q05", "q16", "q50", "q84", "q95"), 2.0) | {"sd": 0.0}
    summary["parameters"]["S_flat"] = {**fixed, "weighted": fixed, "unit": ""}
    folder.change_summary(**summary)
    assert "S_flat2.000 (2.000 – 2.000)2.000 (2.000 – 2.000)–" in folder.page().text


def stages(folder: Any) -> list[dict[str, Any]]:
    """Of a fit by `auto` whose emulator would not do: the marginals of each method differ."""
    parameters = folder.summary()["parameters"]
    names = ("S_flat", "Sps")
    moved = [
        {name: {key: value + add for key, value in parameters[name].items() if key != "unit"} for name in names}
        for add in (0.0, 100.0)
    ]
    return [
        {**EMULATOR, "seconds": 134.4, "marginals": moved[0]},
        {**CHAINS, "gradients": 151_871, "log_z": -1234.125, "log_z_error": 0.027, "seconds": 479.1, "method": "nuts",
         "marginals": moved[1]},
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["summary", "posterior"])
def test_methods_side_by_side(folder: Any, place: str) -> None:
    found = stages(folder)
    of_method(folder, AUTO)
    if place == "summary":
        folder.change_summary(stages=found)
    else:
        folder.change_posterior(stages=json.dumps(found))
    page = folder.page()
    assert page.ids.index("methods") == page.ids.index("headline") + 1
    shown = page.text.partition("Methods side by side")[2].partition("Maps")[0]
    assert "quantityemulatornuts" in shown
    for row in (
        "time [s]134479",
        "gradients10,590151,871",
        "log Z [nat]−1,234.500 ± 0.080−1,234.125 ± 0.027",
        "k-hat0.66",
        "ESS674838",
        "R-hat1.0211.004",
    ):
        assert row in shown, row
    entry = found[0]["marginals"]["Sps"]
    spread = 0.5 * (entry["q84"] - entry["q16"])
    for stage in found:
        assert f"{number(stage['marginals']['Sps']['q50'], spread)} (" in shown
    rest = page.text.partition("Diagnosticsdiagnostic")[2].partition("The copy of the likelihood")[0]
    assert "the draws are those ofnuts" in rest
    assert "162,461" in rest
    for words in ("−1,234", "0.66", "838", "R-hat", "1.004"):
        assert words not in rest, words  # not shown twice
    page.shows("Meng1996", "Czarnecki2017", "Cabezas2024", "Vehtari2021")
    page.hides("Durkan2019", "ELBO")
    assert "emulator" in page.ids  # the copy that would not do


@pytest.mark.parametrize("bad", [None, math.nan])
def test_an_effective_size_that_is_no_number_is_a_dash(folder: Any, bad: float | None) -> None:
    """Whichever of the two it is: that of means, or that of tails."""
    for name in ("ess_bulk_min", "ess_tail_min"):
        found = stages(folder)
        found[0][name] = bad
        folder.change_posterior(stages=json.dumps(found))
        assert "ESS–838" in folder.page().text


def test_what_a_copy_has_learnt(folder: Any) -> None:
    of_method(folder, EMULATOR)
    page = folder.page()
    shown = page.text.partition("The copy of the likelihood")[2].partition("Configuration")[0]
    for row in (
        "11,8042,2101.830.031.21",
        "22,4442,8500.410.550.43",
        "1−0.236 ± 0.0454.1 %6.27",
        "2−0.012 ± 0.0210.3 %2.18",
        "draws of the copy accepted0.834",
        "trajectories on the copy accepted0.957",
        "training28.1",
    ):
        assert row in shown, row
    page.hides("ELBO", "trajectories on the likelihood accepted")
    folder.change_summary(diagnostics={**EMULATOR, "accepted": [0.378, 0.499, 0.802]})
    folder.page().shows("trajectories on the likelihood accepted0.802")
    folder.change_summary(diagnostics={name: of for name, of in EMULATOR.items() if name != "accepted"})
    section = emulator(read_fit(folder.path))  # of a fit to the copy that has no exact chains
    assert section is not None
    assert [table.headings[0] for table in section.values["tables"]] == ["round", "test", "work"]
    for damage in ({"rounds": [3]}, {"tests": [{}]}, {"spent": None}, {"accepted": 3}):
        folder.change_summary(diagnostics={**EMULATOR, **damage})
        with pytest.raises(InputError, match="damaged rounds or tests; run the fit again"):
            emulator(read_fit(folder.path))


@pytest.mark.parametrize("damaged", [[{"method": "svi"}], ["svi"], {"a": 1}])
def test_damaged_stages(folder: Any, damaged: Any) -> None:
    folder.change_summary(stages=damaged)
    with pytest.raises(InputError, match="damaged stages or weights; run the fit again"):
        folder.page()


@pytest.mark.parametrize(
    ("settings", "cited", "not_cited"),
    [
        (("svi", "flow", 1.0), "Durkan2019 Roeder2017 Kingma2014", "Li2016 Tucker2018 Phan2019"),
        (("svi", "flow", 0.5), "Durkan2019 Li2016 Tucker2018", "Hoffman2014 Meng1996"),
        (("svi", "iaf", 0.0), "Kingma2016 Phan2019 Li2016", "Tucker2018 Durkan2019"),
        (("svi", "mvn", 1.0), "Kingma2014", "Kingma2016 Phan2019 Durkan2019 Roeder2017"),
        (("nuts", "flow", 0.5), "Hoffman2014 Cabezas2024", "Durkan2019 Kingma2014 Li2016 Meng1996"),
        (("laplace", "flow", 0.5), "MishraSharma2026", "Kingma2014 Durkan2019 Li2016 Cabezas2024"),
        (("auto", "flow", 0.5), "Czarnecki2017 Hoffman2014 Meng1996", "Durkan2019 Li2016 Tucker2018"),
        (("emulator", "flow", 0.5), "Czarnecki2017 Neal2001", "Durkan2019 Hoffman2014 Meng1996"),
        ((None, "iaf", None), "Kingma2016", "Durkan2019 Li2016"),
        (("of somebody else's", "iaf", None), "MishraSharma2026", "Kingma2016"),
    ],
)
def test_works_of_a_method(
    folder: Any, settings: tuple[str | None, str, float | None], cited: str, not_cited: str
) -> None:
    folder.change_posterior(guide=settings[1])
    folder.change_summary(fit=dict(zip(("method", "guide", "alpha"), settings, strict=True)))
    found = {work.key for work in works_of(read_fit(folder.path))}
    assert set(cited.split()) <= found
    assert not set(not_cited.split()) & found
