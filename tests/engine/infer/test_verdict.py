"""Verdicts: what makes a posterior reliable, a preview, or unreliable."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.engine.infer import optimise
from gammasky.engine.infer.agreement import Disagreement
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.emulator.scouts import Forward
from gammasky.engine.infer.evidence import Evidence
from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.methods.auto import Auto
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.methods.laplace import Laplace
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages import emulator as stages
from gammasky.engine.infer.verdict import Verdict, in_python
from tests.engine.infer.emulator import toys

OPTIONS = Settings(method="nuts").resolved()
GOOD = Importance(
    np.full(1000, 1e-3),
    k_hat=0.3,
    ess=900.0,
    efficiency=0.9,
    log_z=-10.0,
    log_z_error=0.01,
    elbo=-10.1,
    elbo_error=0.01,
)


def test_a_good_fit_alone_is_a_preview() -> None:
    verdict = Svi.verdict(GOOD, {"S": 0.1}, "converged")
    assert verdict.level == "preview"
    assert verdict.reasons == ("no second method has looked for mass that the guide misses",)
    assert verdict.remedy == {"method": "auto"}
    assert in_python(verdict.remedy) == "fit(model, Settings(method='auto'))"


def test_an_approximation_without_an_optimiser_is_judged_by_its_weights_alone() -> None:
    assert Laplace.verdict(GOOD, {"S": 0.1}) == Svi.verdict(GOOD, {"S": 0.1}, "converged")
    assert Laplace.verdict(GOOD, {"S": math.nan}).level == "unreliable"


def test_a_heavy_tail_is_unreliable_and_named_first() -> None:
    verdict = Svi.verdict(replace(GOOD, k_hat=0.88, elbo=-12.0), {"S": 0.1}, "converged")
    assert verdict.level == "unreliable"
    assert verdict.reasons[0].startswith("k-hat 0.88 is above 0.7")
    assert any(reason.startswith("log Z - ELBO is 2.00, above 1 nat") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("weights", "shifts", "status", "reason"),
    [
        (replace(GOOD, elbo=-11.5), {"S": 0.0}, "converged", "log Z - ELBO is 1.50"),
        (GOOD, {"S": 0.1, "n1[a]": -0.35}, "converged", r"weights move the mean of n1[a] by -0.35 sd"),
        (GOOD, {"S": 0.1}, "stopped", "the optimiser stopped before the ELBO was flat"),
    ],
)
def test_doubts(weights: Importance, shifts: dict[str, float], status: str, reason: str) -> None:
    verdict = Svi.verdict(weights, shifts, status)
    assert verdict.level == "preview"
    assert verdict.reasons[0].startswith(reason)
    assert verdict.as_dict(repr) == {
        "level": "preview",
        "reasons": list(verdict.reasons),
        "remedy": repr(verdict.remedy),
    }


def chains(r_hat: float = 1.003, bulk: float = 900.0, tail: float = 700.0) -> dict[str, Convergence]:
    return {"S": Convergence(1.001, 2000.0, 2000.0), "f": Convergence(r_hat, bulk, tail)}


def test_chains_that_agree_are_reliable() -> None:
    verdict = Nuts.verdict(chains(), 0.001, OPTIONS)
    assert verdict.level == "reliable"
    assert verdict.remedy == {}
    assert verdict.as_dict(repr)["remedy"] == ""
    assert verdict.reasons == ("4 chains from dispersed starts agree",)


@pytest.mark.parametrize(
    ("found", "divergent", "level", "reason"),
    [
        (chains(r_hat=1.02), 0.0, "preview", "R-hat of f is 1.020, not below 1.01"),
        (chains(r_hat=1.3), 0.0, "unreliable", "R-hat of f is 1.300"),
        (chains(tail=100.0), 0.0, "preview", "f has an effective sample size of 100, below 400"),
        (chains(), 0.01, "preview", "1.0% of the trajectories diverged, not below 0.5%"),
        (chains(), 0.1, "unreliable", "10.0% of the trajectories diverged"),
    ],
)
def test_chains_that_do_not(found: dict[str, Convergence], divergent: float, level: str, reason: str) -> None:
    verdict = Nuts.verdict(found, divergent, OPTIONS)
    assert verdict.level == level
    assert verdict.reasons[0].startswith(reason)
    assert verdict.remedy.keys() == {"method", "draws", "warmup"}


def test_the_remedy_for_few_effective_draws_is_as_many_more() -> None:
    verdict = Nuts.verdict(chains(tail=100.0), 0.0, OPTIONS)
    assert verdict.remedy == {"method": "nuts", "draws": 5000, "warmup": 800}  # 4.8 times as many, in steps of 500


SURE = Nuts.verdict(chains(), 0.0, OPTIONS)
UNSURE = Nuts.verdict(chains(r_hat=1.1), 0.0, OPTIONS)
WRONG = Disagreement("f", shift=0.4, below=0.05, above=0.2, size=3.75)


def test_chains_in_place_of_an_emulator_are_judged_by_themselves() -> None:
    agree = "chains and emulator agree in all 12 numbers that are quoted"
    for chains, confirmed in ((SURE, [agree]), (UNSURE, [])):  # chains that have not mixed confirm nothing
        verdict = Auto.verdict(chains, "not learnt", [], Evidence(-10.0, 0.01), 12, seed=3)
        assert (verdict.level, verdict.remedy) == (chains.level, chains.remedy)
        assert verdict.reasons == (*chains.reasons, "the emulator alone would not do: not learnt", *confirmed)


@pytest.mark.parametrize(
    ("different", "log_z", "last"),
    [
        ([WRONG], Evidence(-10.0, 0.01), "chains and emulator disagree in 1 of 12 numbers; f: 20% of the chains above"),
        (None, None, "log Z is not known"),
    ],
)
def test_what_chains_say_of_an_emulator(
    different: list[Disagreement] | None, log_z: Evidence | None, last: str
) -> None:
    verdict = Auto.verdict(SURE, "not learnt", different, log_z, 12, seed=3)
    assert verdict.level == "reliable"
    assert verdict.reasons[-1].startswith(last)


def test_a_log_z_of_large_error_is_told_alike_by_the_emulator_and_in_its_place() -> None:
    """It is quoted, so it makes a preview of either; worse chains stay what they are."""
    vague, reason = Evidence(-10.0, 0.35), "log Z has an error of 0.35, above 0.2"
    found = Auto.verdict(SURE, "not learnt", [], vague, 12, seed=3)
    alone = by_emulator(log_z=(vague.log_z, vague.log_z_error))
    assert (found.level, found.reasons[0]) == (alone.level, alone.reasons[0]) == ("preview", reason)
    assert found.reasons[1] == SURE.reasons[0]
    assert found.remedy == {"method": "auto", "seed": 4}
    worse = Auto.verdict(UNSURE, "not learnt", [], vague, 12, seed=3)
    assert (worse.level, worse.remedy) == (UNSURE.level, UNSURE.remedy)
    assert worse.reasons[:2] == (UNSURE.reasons[0], reason)


BAD = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])


def named(verdict: Verdict, name: str, bad: float) -> bool:
    return verdict.level == "unreliable" and verdict.reasons[0] == f"{name} is {bad}, not a finite number"


@BAD
def test_a_guide_with_a_number_that_is_not_finite_is_unreliable(bad: float) -> None:
    names = {"k_hat": "k-hat", "ess": "the effective sample size of the weights", "log_z": "log Z", "elbo": "the ELBO"}
    for field, name in names.items():
        weights = replace(GOOD, **{field: bad})
        assert named(Svi.verdict(weights, {"S": 0.0}, "converged"), name, bad)
    for moved in ({"S": bad, "n1": 0.1}, {"n1": 0.1, "S": bad}):
        assert named(Svi.verdict(GOOD, moved, "converged"), "the shift of the mean of S by the weights", bad)


@BAD
@pytest.mark.parametrize("bad_first", [True, False])
def test_chains_with_a_number_that_is_not_finite_are_unreliable(bad: float, bad_first: bool) -> None:
    good = {"S": Convergence(1.001, 2000.0, 2000.0)}
    for wrong, name in (
        (Convergence(bad, 900.0, 900.0), "R-hat of f"),
        (Convergence(1.001, 900.0, bad), "the effective sample size of the tails of f"),
        (Convergence(1.001, bad, 900.0), "the effective sample size of f"),
    ):
        found = {"f": wrong, **good} if bad_first else {**good, "f": wrong}
        assert named(Nuts.verdict(found, 0.0, OPTIONS), name, bad)
    assert named(Nuts.verdict(good, bad, OPTIONS), "the share of divergent trajectories", bad)


@BAD
def test_one_draw_that_is_not_finite_makes_any_fit_unreliable(bad: float) -> None:
    draws = np.zeros((400, 2))
    fit = Fit("nuts", "finished", draws, draws[:, 0], None, {"S": draws[:, 1]}, np.zeros(0), SURE, {"r_hat_max": 1.0},
              laplace=None, weights=None)  # type: ignore[arg-type]  # fmt: skip
    assert fit.verdict == SURE
    wrong = draws.copy()
    wrong[7, 1] = bad
    for changes, reason in (
        ({"derived": {"S": wrong[:, 1]}}, "draws of S: 1 of 400 numbers are not finite"),
        ({"z": wrong}, "latent draws: 1 of 800 numbers are not finite"),
        ({"log_likelihood": wrong[:, 1]}, "log-likelihoods of the draws: 1 of 400 numbers are not finite"),
        ({"log_guide": wrong[:, 1]}, "log densities of the guide: 1 of 400 numbers are not finite"),
        ({"weights": replace(GOOD, weights=wrong[:, 1])}, "importance weights: 1 of 400 numbers are not finite"),
        ({"diagnostics": {"log_z": bad}}, f"log_z is {bad}, not a finite number"),
    ):
        worse = replace(fit, **changes)
        assert (worse.verdict.level, worse.verdict.reasons) == ("unreliable", (reason,))
        assert replace(worse, seconds=1.0).verdict == worse.verdict


TESTED = Forward(coverage=0.01, error=0.02, missed=0.001, worst=1.0)


def by_emulator(
    weights: Importance = GOOD, tested: Forward = TESTED, found: dict[str, Convergence] | None = None,
    mixed: float = 1.02, low: float = 0.1, log_z: tuple[float, float] = (-10.0, 0.04), *, on_likelihood: bool = False,
) -> Verdict:  # fmt: skip
    return Emulator.verdict(
        weights, tested, found or chains(), mixed, low, Evidence(*log_z), on_likelihood=on_likelihood
    )


def test_a_copy_that_passes_all_checks_is_reliable() -> None:
    verdict = by_emulator()
    assert verdict == Verdict("reliable", verdict.reasons, {})
    assert verdict.reasons == ("copy and likelihood agree, and so do exact chains, in all 2 numbers that are quoted",)
    assert by_emulator(tested=replace(TESTED, coverage=-0.11)).level == "reliable"  # within the error of the test
    light = np.full(1000, 1e-3)  # no draw counts more than others, whatever the shape of their tail
    assert by_emulator(replace(GOOD, k_hat=0.9, weights=light)).level == "reliable"


def heavy_weights() -> np.ndarray:
    weights = np.full(1000, 0.99e-3)
    weights[0] += 0.01
    return weights


@pytest.mark.parametrize(
    ("given", "level", "reason"),
    [
        ({"weights": replace(GOOD, efficiency=0.19)}, "unreliable", "importance efficiency of 19%, below 20%"),
        ({"weights": replace(GOOD, k_hat=0.8, weights=heavy_weights())}, "preview", "of the copy's draws is 0.80"),
        ({"weights": replace(GOOD, elbo=-math.inf, weights=np.repeat([2e-3, 0.0], 500))}, "preview",
         "the likelihood does not exist at 50.0% of the copy's draws"),
        ({"tested": replace(TESTED, coverage=-0.2)}, "unreliable", "is -0.20 +- 0.02, below -0.1 by more"),
        ({"tested": replace(TESTED, missed=0.03)}, "preview", "3.0% of the posterior, not below 2%"),
        ({"found": chains(r_hat=1.02)}, "preview", "R-hat of f is 1.020, not below 1.01"),
        ({"found": chains(r_hat=1.06)}, "unreliable", "R-hat of f is 1.060, not below 1.01"),
        ({"found": chains(tail=300.0)}, "preview", "f has an effective sample size of 300, below 400"),
        ({"mixed": 1.2}, "unreliable", "chains on the copy do not mix (R-hat 1.20"),
        ({"low": 3.1}, "preview", "at an optimum that the climbs found the copy is too low by 3.1 nat, more than 3"),
        ({"low": math.nan}, "unreliable", "what the copy lacks at the optima is nan"),
        ({"log_z": (-10.0, 0.3)}, "preview", "log Z has an error of 0.30, above 0.2"),
        ({"log_z": (math.nan, 0.1)}, "unreliable", "the evidence is nan"),
        ({"mixed": math.nan}, "unreliable", "R-hat of the copy's chains is nan"),
    ],
)  # fmt: skip
def test_what_is_held_against_a_copy(given: dict[str, Any], level: str, reason: str) -> None:
    verdict = by_emulator(**given)
    assert verdict.level == level
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]
    assert verdict.remedy == {"method": "auto"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ""),
        ({"weights": replace(GOOD, efficiency=0.19)}, "efficiency of 19%, below 20%: the likelihood was not learnt"),
        ({"tested": replace(TESTED, missed=0.03)}, "3.0% of the posterior, not below 2%, lie where the copy is low"),
        ({"tested": replace(TESTED, coverage=math.inf, error=math.nan, missed=0.2)}, "20.0% of the posterior"),
    ],
)
def test_chains_on_the_likelihood_need_no_copy_that_is_right(given: dict[str, Any], told: str) -> None:
    verdict = by_emulator(**given, on_likelihood=True)
    assert verdict.level == "reliable"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("chains that move on the likelihood itself agree in all 2 numbers")
    assert told in verdict.reasons[0]
    assert ("the copy alone would not do" in verdict.reasons[0]) == bool(told)


@pytest.mark.parametrize(
    ("given", "level", "reason"),
    [
        ({"weights": replace(GOOD, elbo=-math.inf, weights=np.repeat([2e-3, 0.0], 500))}, "preview", "does not exist"),
        ({"found": chains(r_hat=1.02)}, "preview", "R-hat of f is 1.020, not below 1.01"),
        ({"mixed": 1.2}, "unreliable", "chains on the copy do not mix (R-hat 1.20"),
        ({"low": 3.1}, "preview", "at an optimum that the climbs found the copy is too low by 3.1 nat, more than 3"),
        ({"low": math.nan}, "unreliable", "what the copy lacks at the optima is nan"),
        ({"log_z": (-10.0, 0.3)}, "preview", "log Z has an error of 0.30, above 0.2"),
        ({"log_z": (math.nan, 0.1)}, "unreliable", "the evidence is nan"),
    ],
)
def test_what_is_held_against_chains_on_the_likelihood(given: dict[str, Any], level: str, reason: str) -> None:
    verdict = by_emulator(**given, on_likelihood=True)
    assert (verdict.level, len(verdict.reasons)) == (level, 1)
    assert reason in verdict.reasons[0]


@pytest.mark.parametrize(
    ("weights", "tested"),
    [
        (replace(GOOD, k_hat=math.inf), TESTED),
        (GOOD, replace(TESTED, coverage=math.inf, error=math.nan)),
    ],
)
def test_a_whole_fit_by_chains_on_the_likelihood_needs_no_copy_that_is_right(
    weights: Importance, tested: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the verdict does not rest on, the fit does not hold against it; where it rests on the copy, it does."""
    monkeypatch.setattr(stages, "evidence", lambda _: Evidence(-10.0, 0.04))
    monkeypatch.setattr(stages, "low_at_optima", lambda *_: 0.0)
    draws = np.zeros((400, 1))
    for on_likelihood, level in ((True, "reliable"), (False, "unreliable")):
        stage: Any = stages.EmulatorStage(toys.prior(1), Settings(), 400)
        stage.start = optimise.Laplace(np.zeros(1), np.eye(1), 0.0, np.zeros(1))
        stage.emulation = SimpleNamespace(
            posterior=lambda: (draws, draws[:, 0], {"S": draws[:, 0]}), weights=weights, tests=[tested], found=chains(),
            mixed=1.02, chains=SimpleNamespace(on_likelihood=on_likelihood, accepted=[0.9]), cost=10, rounds=[],
            seconds={},
        )  # fmt: skip
        found = stage.finish()
        assert found.verdict.level == level
        assert replace(found, method="auto").verdict == found.verdict


COVERS = Forward(coverage=0.01, error=0.02, missed=0.01, worst=4.0)
OF_COPY = {"the coverage by the copy": 0.0, "R-hat of the copy's chains": 1.01}


def test_a_guide_on_a_good_copy_is_reliable() -> None:
    verdict = Svi.verdict_on_copy(GOOD, {"S": 0.1}, COVERS, ([], []), OF_COPY)
    assert verdict == Verdict("reliable", ("guide, copy and likelihood agree",), {})


@pytest.mark.parametrize(
    ("weights", "shift", "covers", "of_copy", "level", "reason", "remedy"),
    [
        ({"efficiency": 0.19}, 0.1, {}, ([], []), "preview", "importance efficiency of 19%, below 20%", "emulator"),
        ({"ess": 399.0}, 0.1, {}, ([], []), "preview", "worth 399 independent ones, below 400", "emulator"),
        ({"k_hat": 0.8}, 0.1, {}, ([], []), "unreliable", "k-hat 0.80 is above 0.7", "emulator"),
        ({}, 0.3, {}, ([], []), "preview", "weights move the mean of S by +0.30 sd", "emulator"),
        (
            {},
            0.1,
            {"coverage": -0.15},
            ([], []),
            "unreliable",
            "the posterior goes where the guide does not",
            "emulator",
        ),
        ({}, 0.1, {"missed": 0.06}, ([], []), "preview", "6.0% of the posterior, not below 5%", "emulator"),
        ({}, 0.1, {}, (["not mixed"], []), "unreliable", "not mixed", "nuts"),
        ({}, 0.1, {}, ([], ["a heavy tail"]), "preview", "a heavy tail", "nuts"),
        ({}, 0.1, {"coverage": math.nan}, ([], []), "unreliable", "the coverage by the guide is nan", "emulator"),
        ({}, 0.1, None, ([], []), "preview", "known at its own draws only", "emulator"),
    ],
)
def test_what_is_held_against_a_guide_on_a_copy(
    weights: dict[str, float], shift: float, covers: dict[str, float] | None, of_copy: tuple[list[str], list[str]],
    level: str, reason: str, remedy: str,
) -> None:  # fmt: skip
    tested = None if covers is None else replace(COVERS, **covers)
    verdict = Svi.verdict_on_copy(replace(GOOD, **weights), {"S": shift}, tested, of_copy, OF_COPY)
    assert verdict.level == level
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]
    assert verdict.remedy == {"method": remedy}
