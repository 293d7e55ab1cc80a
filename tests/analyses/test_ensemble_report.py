"""The answer of a campaign of made-up members: averages, what is missing, the page, tables and figures."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.ensemble.answer import Answer, movers, read_answer
from gammasky.analyses.ensemble.answer_page import made_with
from gammasky.analyses.ensemble.report import write_report
from gammasky.distributed.campaign import run_campaign
from gammasky.distributed.member import Desk, Member, Resources, Result
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.errors import InputError

AXES = {"mask": ["3fgl", "4fgl"], "morphology": ["nfw", "bulge", "hybrid"], "diffuse": ["O", "A"]}
LABELS = [dict(zip(AXES, cell, strict=True)) for cell in itertools.product(*AXES.values())]
FAILING = "mask=4fgl,morphology=bulge,diffuse=A"
MANIFEST = {"name": "made-up", "model": "fiducial", "data": "fermi", "description": "<b>not markup</b>"}
LOG_Z = {"nfw": -100.0, "bulge": -100.0 + np.log(2.0), "hybrid": -100.0 + np.log(5.0)}


def name_of(labels: dict[str, str]) -> str:
    return ",".join(f"{axis}={choice}" for axis, choice in labels.items())


def made_up(spec: dict[str, Any], _desk: Desk) -> Result:
    """A fit whose point-source fraction is 0.5, more by 0.2 for a bulge and less by 0.1 with the 4FGL mask."""
    labels = spec["labels"]
    if name_of(labels) == FAILING:
        raise ValueError("no <luck>")
    mean = 0.5 + 0.2 * (labels["morphology"] == "bulge") - 0.1 * (labels["mask"] == "4fgl")
    row: dict[str, Any] = {
        "data_group": labels["mask"], "sky": "real", "method": "svi", "status": "converged", "verdict": "preview",
        "why": "k-hat is 0.72",
        "elbo": -101.0, "log_z": float(LOG_Z[labels["morphology"]]), "log_z_error": 0.1, "k_hat": 0.5, "elpd": -98.0,
        "version_jax": "0.10.2" if labels["mask"] == "3fgl" else "0.10.3", "backend": "numba",
        "p_waic": 9.0, "n_unsure": 0, "fit_seconds": 60.0, "n_pixels": 100, "n_photons": 3000, "n_parameters": 12,
    }  # fmt: skip
    if name_of(labels) == "mask=3fgl,morphology=hybrid,diffuse=O":
        row["k_hat"] = 0.9
    if name_of(labels) == "mask=3fgl,morphology=hybrid,diffuse=A":  # by chains, whose log Z needs no k-hat
        row |= {"method": "auto", "verdict": "reliable", "why": ""}
        del row["elbo"], row["k_hat"]
    if labels == {"mask": "4fgl", "morphology": "nfw", "diffuse": "O"}:
        del row["log_z"]
    row |= quantity("ps_fraction", mean, 0.06)
    if labels["morphology"] != "bulge":
        row |= quantity("gamma", 1.0, 0.1)
    pixel = np.arange(100) + (10 if labels["mask"] == "4fgl" else 0)
    better = 0.1 if labels["diffuse"] == "A" and labels["morphology"] == "nfw" and labels["mask"] == "3fgl" else 0.0
    return Result({"pixel": pixel, "pixel_elpd": np.full(100, -1.0 + better)}, row)


def quantity(name: str, mean: float, sd: float) -> dict[str, float]:
    numbers = {"mean": mean, "sd": sd, "q05": mean - 1.64 * sd, "q50": mean, "q95": mean + 1.64 * sd}
    return {f"{name}_{key}": value for key, value in numbers.items()}


def run(folder: Path, labels: list[dict[str, str]], task: Callable[..., Result] = made_up) -> Path:
    members = [Member(name_of(entry), {"labels": entry}, entry, 1.0) for entry in labels]
    run_campaign(folder, task, members, Resources(), InlineRunner(), manifest=MANIFEST, quiet=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of twelve, of which one failed and one was never run."""
    place = run(tmp_path_factory.mktemp("ensemble") / "campaign", LABELS)
    gone = next(row for row in read_answer(place).rows if row["labels"] == LABELS[0])
    (place / "members" / f"{gone['key']}.npz").unlink()
    return place


@pytest.fixture(scope="module")
def answer(folder: Path) -> Answer:
    return read_answer(folder, every=True)


def test_failed_and_missing_members_are_listed(answer: Answer) -> None:
    assert list(answer.failed) == [FAILING]
    assert "no <luck>" in answer.failed[FAILING]
    assert answer.missing == [name_of(LABELS[0])]
    assert len(answer.rows) == 10
    assert answer.axes == AXES
    assert answer.quantities == ["ps_fraction", "gamma"]


def test_it_is_said_with_what_the_members_were_fitted(answer: Answer, folder: Path) -> None:
    made = [sum(row["version_jax"] == version for row in answer.rows) for version in ("0.10.2", "0.10.3")]
    assert made_with(answer) == ["backend numba", f"jax 0.10.2 ({made[0]}), 0.10.3 ({made[1]})"]
    assert made_with(answer)[1] in write_report(folder, every=True).read_text(encoding="utf-8")


def test_evidence_within_the_same_data_only(answer: Answer) -> None:
    first, second = answer.groups
    assert (first.labels, second.labels) == ({"mask": "3fgl"}, {"mask": "4fgl"})
    assert first.members == tuple(name_of(labels) for labels in LABELS[1:6])
    np.testing.assert_allclose(first.weights, np.array([1, 2, 2, 5, 5]) / 15, rtol=1e-12)
    assert first.averages["ps_fraction"].mean == pytest.approx((11 * 0.5 + 4 * 0.7) / 15)
    assert first.averages["gamma"].share == pytest.approx(11 / 15)
    assert second.without == ("mask=4fgl,morphology=nfw,diffuse=O",)
    assert first.doubtful == ("mask=3fgl,morphology=hybrid,diffuse=O",)
    assert second.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_member_with_numbers_that_are_not_finite_is_told(tmp_path: Path, bad: float) -> None:
    wrong = name_of(LABELS[1])

    def unknown(spec: dict[str, Any], desk: Desk) -> Result:
        result = made_up(spec, desk)
        if name_of(spec["labels"]) != wrong:
            return result
        row = {**result.row, "k_hat": bad, "ps_fraction_mean": np.nan}
        return Result({**result.arrays, "pixel_elpd": np.full(100, np.nan)}, row)

    found = read_answer(run(tmp_path / "campaign", LABELS[1:4], unknown), every=True)
    (group,), (stacked,) = found.groups, found.stacks
    assert group.doubtful == (wrong,)
    assert np.isnan([found.equal["ps_fraction"].mean, group.averages["ps_fraction"].mean]).all()
    assert found.equal["gamma"].mean == pytest.approx(1.0)
    assert stacked.stack is None
    assert stacked.reason == f"the predictive density of {wrong} is not finite"

    def without(spec: dict[str, Any], desk: Desk) -> Result:
        result = made_up(spec, desk)
        return Result(result.arrays, {**result.row, "log_z": bad} if name_of(spec["labels"]) == wrong else result.row)

    (group,) = read_answer(run(tmp_path / "other", LABELS[1:4], without), every=True).groups
    assert group.without == (wrong,)
    assert group.weights.sum() == pytest.approx(1.0)


def test_stacking_on_the_common_pixels(answer: Answer) -> None:
    (stacked,) = answer.stacks
    assert stacked.stack is not None
    assert stacked.stack.n_pixels == 90
    assert stacked.stack.score == pytest.approx(-0.9 * 90, abs=2e-3)
    best = stacked.members.index("mask=3fgl,morphology=nfw,diffuse=A")
    assert stacked.stack.weights[best] == pytest.approx(1.0, abs=1e-3)


def test_no_common_pixel_is_said(tmp_path: Path) -> None:
    place = run(tmp_path / "apart", LABELS[:1] + LABELS[6:7], halves)
    (stacked,) = read_answer(place, every=True).stacks
    assert stacked.stack is None
    assert stacked.reason == "no pixel is fitted by all members"
    assert "No stacking: no pixel is fitted by all members." in write_report(place, every=True).read_text(
        encoding="utf-8"
    )


def halves(spec: dict[str, Any], desk: Desk) -> Result:
    """Masks that leave no common pixel."""
    found = made_up(spec, desk)
    found.arrays["pixel"] = np.arange(100) + (1000 if spec["labels"]["mask"] == "4fgl" else 0)
    return found


def test_effects(answer: Answer) -> None:
    effects = {(e.axis, e.choice): e for e in answer.effects["ps_fraction"].effects}
    assert effects["morphology", "bulge"].shift == pytest.approx(0.2 * 2 / 3)
    assert effects["mask", "4fgl"].shift == pytest.approx(-0.05)
    assert effects["diffuse", "A"].shift == pytest.approx(0.0, abs=1e-12)
    strongest, *others = movers(answer.effects)
    assert strongest[:3] == ("ps_fraction", "morphology", "bulge")
    assert strongest[4] == pytest.approx(0.2 * 2 / 3 / 0.06)
    assert {entry[2] for entry in others} == {"nfw", "hybrid"}  # by 0.067; the masks by 0.05


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "section":
            self.sections.append(str(given.get("id")))
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page(folder: Path) -> None:
    path = write_report(folder, every=True)
    assert path == folder / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    text = " ".join(" ".join(page.words).split())
    assert page.sections == [
        "verdict", "result", "moving", "effects", "members", "evidence", "stacking", "absent", "configuration",
    ]  # fmt: skip
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "b"}
    assert "<b>not markup</b>" in text
    assert f"Not run yet: {name_of(LABELS[0])}" in text
    assert "no <luck>" in text
    assert "only where they fit the same photons in the same pixels" in text
    assert "k-hat above 0.7" in text
    assert "preview k-hat is 0.72" in text  # why, beside the verdict of a member


def test_tables_and_figures(folder: Path) -> None:
    write_report(folder, every=True)
    with (folder / "answer.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10
    assert {line["axis.mask"] for line in lines} == set(AXES["mask"])
    of_mask = [float(line["evidence_weight"]) for line in lines if line["axis.mask"] == "3fgl"]
    assert sum(of_mask) == pytest.approx(1.0)
    assert sum(float(line["stacking_weight"]) for line in lines) == pytest.approx(1.0)
    with (folder / "effects.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 7 + 6  # gamma: no bulge
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {
        "forest_ps_fraction.png", "forest_gamma.png", "effects_ps_fraction.png", "effects_gamma.png", "variance.png",
    }  # fmt: skip


def test_report_of_one_member(tmp_path: Path) -> None:
    place = run(tmp_path / "one", LABELS[:1])
    page = Page(write_report(place, every=True).read_text(encoding="utf-8"))
    assert "effects" not in page.sections
    assert "absent" not in page.sections
    assert {path.name for path in (place / "figures").iterdir()} == {"forest_ps_fraction.png", "forest_gamma.png"}


def bare(spec: dict[str, Any], desk: Desk) -> Result:
    """A fit of a model without an excess."""
    found = made_up(spec, desk)
    found.row = {name: value for name, value in found.row.items() if not name.startswith(("ps_fraction", "gamma"))}
    return found


def test_report_without_quantities(tmp_path: Path) -> None:
    page = Page(write_report(run(tmp_path / "bare", LABELS[:3], bare), every=True).read_text(encoding="utf-8"))
    assert "No member has a quantity to average" in " ".join(page.words)
    assert {"evidence", "members"} <= set(page.sections)


def test_averages_are_of_reliable_members(folder: Path) -> None:
    """Of ten members one is reliable; it is the only one in averages, weights and effects, and the page says so."""
    (one,) = (row for row in read_answer(folder).rows if row["verdict"] == "reliable")
    found = read_answer(folder)
    assert (len(found.rows), len(found.left_out), one["name"] in found.left_out) == (10, 9, False)
    assert [group.members for group in found.groups] == [(one["name"],)]
    assert [stack.members for stack in found.stacks] == [(one["name"],)]
    assert found.equal["ps_fraction"].mean == pytest.approx(one["ps_fraction_mean"])
    assert not found.effects
    text = write_report(folder).read_text(encoding="utf-8")
    assert "in no average, since not reliable: 9" in text
    assert "reliable members alike" in text


def test_without_a_reliable_member_nothing_is_averaged(tmp_path: Path) -> None:
    place = run(tmp_path / "previews", LABELS[:3])
    found = read_answer(place)
    assert (len(found.rows), found.groups, found.stacks, found.equal, found.effects) == (3, [], [], {}, {})
    assert "No member is reliable, so nothing is averaged." in write_report(place).read_text(encoding="utf-8")


def test_seeds_are_repeats_and_no_axis_of_effects(tmp_path: Path) -> None:
    """Two seeds of each of four members, 0.02 apart: the sd between seeds is 0.02 / sqrt(2)."""

    def repeated(spec: dict[str, Any], desk: Desk) -> Result:
        found = made_up(spec, desk)
        found.row["ps_fraction_mean"] += 0.02 * (spec["labels"]["seed"] == "1")
        return found

    labels = [{**entry, "seed": seed} for entry in LABELS if entry["morphology"] != "hybrid" and entry["mask"] == "3fgl"
              for seed in ("0", "1")]  # fmt: skip
    effects = read_answer(run(tmp_path / "seeds", labels, repeated), every=True).effects["ps_fraction"]
    assert {effect.axis for effect in effects.effects} == {"morphology", "diffuse"}
    assert effects.repeats == pytest.approx(0.02 / np.sqrt(2.0))
    bulge = next(effect for effect in effects.effects if effect.choice == "bulge")
    assert bulge.shift == pytest.approx(0.1)
    # the means of two seeds each have no residuals: what is left is the error of four such means
    assert bulge.error == pytest.approx(np.sqrt(0.02**2 / 2 / 2 / 4))


def test_a_number_that_is_fixed_in_every_member_moves_without_end(tmp_path: Path) -> None:
    def fixed(spec: dict[str, Any], desk: Desk) -> Result:
        found = made_up(spec, desk)
        found.row |= quantity("excess_flux", 1.0 + (spec["labels"]["mask"] == "4fgl"), 0.0)
        return found

    place = run(tmp_path / "fixed", [entry for entry in LABELS if entry["morphology"] != "bulge"], fixed)
    found = [entry for entry in movers(read_answer(place, every=True).effects) if entry[0] == "excess_flux"]
    assert sorted((choice, round(shift, 9), sds) for _, _, choice, shift, sds in found) == [
        ("3fgl", -0.5, -np.inf),
        ("4fgl", 0.5, np.inf),
    ]
    assert "+–" not in write_report(place, every=True).read_text(encoding="utf-8")


def test_the_skies_of_a_test_are_no_answer(tmp_path: Path) -> None:
    place = run(tmp_path / "skies", LABELS[:1], lambda _spec, _desk: Result({}, {"ts": 1.0}))
    with pytest.raises(InputError, match="expected the campaign of an ensemble, got skies, whose report"):
        read_answer(place)


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no campaign there"):
        write_report(tmp_path)
    place = run(tmp_path / "failed", [entry for entry in LABELS if name_of(entry) == FAILING])
    with pytest.raises(InputError, match="no member is done yet; run `gammasky campaign resume"):
        write_report(place)
    assert json.loads((place / "manifest.json").read_text())["campaign"] == MANIFEST
