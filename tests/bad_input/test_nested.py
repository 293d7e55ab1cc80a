"""Bad input of tests of nested models: one line that names the culprit, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_input.spoil import Capture, files, refusal

pytestmark = pytest.mark.usefixtures("compiled_fast")


def words(*null: str) -> list[str]:
    conditions = [word for condition in null for word in ("--null", condition)]
    return ["test", "model.toml", "--data", "sky", *conditions, "--executor", "inline", "--out", "out"]


@pytest.mark.parametrize(
    ("null", "message"),
    [
        (["Spz = 0"], "null 'Spz = 0': unknown parameter 'Spz'; did you mean 'Sps'?"),
        (["sources = 0"], "null 'sources = 0': 'sources' is a component, not a parameter; say 'without sources'"),
        (["without source"], "null 'without source': unknown component 'source'; did you mean 'sources'?"),
        (["without disk"], "null 'without disk': unknown component 'disk' (known: smooth, sources)"),
        (["Sps = 12"], "null 'Sps = 12': not nested, the prior of 'Sps' goes from 0.1 to 9; choose a value there"),
        (["S_flat = -1"], "null 'S_flat = -1': not nested, the prior of 'S_flat' goes from 0.5 to 6"),
        (["mix = [0.5, 0.6]"], "null 'mix = [0.5, 0.6]': not nested, parameter 'mix': expected fractions"),
        (["mix = [1, 0, 0]"], "null 'mix = [1, 0, 0]': 'mix' is a number or a list of 2, got [1, 0, 0]"),
        (["Sps = mix"], "null 'Sps = mix': 'Sps' has 1 numbers, 'mix' 2"),
        (["Sps = Sps"], "null 'Sps = Sps': one parameter is always equal to itself; name two"),
        (["Sps = 0", "without sources"], "null 'without sources': 'Sps' is in another condition already; say it once"),
        (["Sps = S_flat", "S_flat = 1"], "null 'S_flat = 1': 'S_flat' is in another condition already"),
        (["Sps"], "null 'Sps': expected 'NAME = NUMBER', 'NAME = NAME' or 'without COMPONENT'"),
        (["Sps = nan"], "null 'Sps = nan': 'Sps' is a number, got NaN"),
        ([], "Missing option '--null'"),
    ],
)
def test_a_null_that_is_not_nested(null: list[str], message: str, here: Path, capsys: Capture) -> None:
    before = files(here)
    assert message in refusal(capsys, *words(*null))
    assert files(here) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--skies", "20", "--p", "0.01"],
            "--skies: 20 give no p-value below 1/21 = 0.0476; for 0.01 ask for --skies 99",
        ),
        (["--p", "0"], "--p: expected a number from 1e-09 to below 1, got 0"),
        (["--simulator", "photon"], "unknown simulator 'photon'; did you mean 'photons'?"),
        (["--skies", "0"], "Invalid value for '--skies': 0 is not in the range x>=1"),
    ],
)
def test_numbers_that_cannot_be(more: list[str], message: str, here: Path, capsys: Capture) -> None:
    before = files(here)
    assert message in refusal(capsys, *words("Sps = 0"), *more)
    assert files(here) == before


def test_a_damaged_file_of_the_maxima(here: Path, capsys: Capture) -> None:
    (here / "out").mkdir()
    (here / "out" / "observed.json").write_text('{"identity": {}, "null": 3')
    assert "observed.json: damaged; remove it, or choose another folder" in refusal(capsys, *words("Sps = 0"))


def test_a_fixed_norm_cannot_be_removed(here: Path, capsys: Capture) -> None:
    text = (here / "model.toml").read_text().replace('norm = "S_flat"', "norm = 2.0")
    text = text.replace('S_flat = { prior = "uniform", low = 0.5, high = 6.0 }\n', "")
    (here / "model.toml").write_text(text)
    told = refusal(capsys, *words("without smooth"))
    assert (
        "null 'without smooth': not nested, its norm is the number 2; give 'smooth' a norm that is a parameter" in told
    )


def test_a_shared_norm_cannot_be_removed_from_one_component(here: Path, capsys: Capture) -> None:
    text = (here / "model.toml").read_text().replace('norm = "S_flat"', 'norm = "Sps"')
    text = text.replace('S_flat = { prior = "uniform", low = 0.5, high = 6.0 }\n', "")
    (here / "model.toml").write_text(text)
    told = refusal(capsys, *words("without sources"))
    assert "null 'without sources': its norm 'Sps' is also that of 'smooth'; give 'sources' a norm of its own" in told


def profile_words(*more: str) -> list[str]:
    return ["profile", "model.toml", "--data", "sky", "--executor", "inline", "--out", "out", *more]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--of", "Spz"], "unknown number 'Spz'; did you mean 'Sps'?"),
        (["--of", "mix"], "'mix': expected one of mix[flat], mix[peak]"),
        (["--of", "flux[disk]"], "unknown component 'disk' (known: smooth, sources)"),
        (["--of", "flux[sources]", "--skies", "30"], "--skies: 'flux[sources]' is no parameter of its own"),
        (["--of", "Sps", "--skies", "10"], "--skies: 10 cannot tell a level of 0.95"),
        (["--of", "Sps", "--limit", "95"], "--limit: expected a number between 0.5 and 1, got 95"),
        ([], "Missing option '--of'"),
    ],
)
def test_a_profile_that_cannot_be(more: list[str], message: str, here: Path, capsys: Capture) -> None:
    before = files(here)
    assert message in refusal(capsys, *profile_words(*more))
    assert files(here) == before
