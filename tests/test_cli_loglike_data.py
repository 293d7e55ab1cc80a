"""`gammasky loglike` end to end on the Fermi-LAT data: numbers, files, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine import runtime

pytestmark = pytest.mark.data

POINT: dict[str, Any] = {
    "A_iso": 0.3, "A_gce": 0.3, "A_bub": 1.0,
    "Aps_gce": 0.003, "n1_gce": 10.0, "n2_gce": 0.0, "sb_gce": 12.0,
    "Aps_dsk": 0.003, "n1_dsk": 8.0, "n2_dsk": 0.5, "sb_dsk": 8.0,
}  # fmt: skip

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, fermi_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command at a point; exit code, output, errors."""
    # the tests' own process keeps its JAX settings: double precision is on already
    monkeypatch.setattr(runtime, "configure", lambda: None)

    def command(point: dict[str, Any], *options: str, model: str = "nptfit_galactic_centre") -> tuple[int, str, str]:
        file = tmp_path / "point.json"
        file.write_text(json.dumps(point), encoding="utf-8")
        code = main(["loglike", model, "--data-dir", str(fermi_dir), "--params", str(file), *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_value_gradient_and_pixel_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "logp.npy"
    code, out, err = run(POINT, "--grad", "--per-pixel", str(file))
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert list(answer) == ["log_likelihood", "gradient", "pixels"]
    assert list(answer["gradient"]) == list(POINT)
    per_pixel = np.load(file, allow_pickle=False)
    assert per_pixel.shape == (answer["pixels"],) == (11331,)
    np.testing.assert_allclose(per_pixel.sum(), answer["log_likelihood"], rtol=1e-13)
    step = 1e-4
    for name in ("A_iso", "sb_dsk"):
        up, down = (json.loads(run(POINT | {name: POINT[name] + sign * step})[1])["log_likelihood"] for sign in (1, -1))
        np.testing.assert_allclose(answer["gradient"][name], (up - down) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A_isso": 1.0}, "unknown parameter 'A_isso'; did you mean 'A_iso'?"),
        ({"A_iso": [1.0, 2.0]}, "parameter 'A_iso': expected one number, got [1.0, 2.0]"),
        ({"A_iso": -1e4}, "log-likelihood is nan in pixel "),
        ({"sb_gce": 0.0}, "component 'gce_ps': breaks out of order"),
    ],
)
def test_what_is_wrong_is_one_line(change: dict[str, Any], message: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "logp.npy"
    code, out, err = run(POINT | change, "--grad", "--per-pixel", str(file))
    assert (code, out) == (2, "")
    assert err.startswith("gammasky: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not file.exists()


def test_a_missing_parameter_and_an_unknown_model(run: Run) -> None:
    code, out, err = run({"A_iso": 1.0})
    assert (code, out) == (2, "")
    assert "parameter 'A_gce' is missing; give all of A_iso, A_gce" in err
    code, out, err = run(POINT, model="nptfit_galactic_center")
    assert (code, out) == (2, "")
    assert "did you mean 'nptfit_galactic_centre'?" in err
