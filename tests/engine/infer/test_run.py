"""The fit from beginning to end on a small region of the real data: files, resume, interrupts, folders."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.folders import folder_made
from gammasky.engine.infer import outputs, read_posterior, run, svi
from gammasky.engine.infer.outputs import CHECKPOINT, POSTERIOR
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages import stage
from gammasky.engine.infer.stages import svi as methods_svi
from gammasky.engine.infer.svi import VariationalFit
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset
from tests.engine.infer.emulator import toys

pytestmark = pytest.mark.usefixtures("compiled_fast", "programs_shared")
Capture = pytest.CaptureFixture[str]
SETTINGS = Settings(
    method="svi", emulator=False, guide="mvn", steps=5000, particles=4, learning_rate=0.01, early_stop=True
)
GUIDE = ["--method", "svi", "--no-emulator", "--guide", "mvn", "--particles", "2"]
N_STARTS = stage.N_STARTS


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "N_DRAWS", 200)
    monkeypatch.setattr(stage, "N_STARTS", 1)


@pytest.fixture(scope="module")
def toml(tmp_path_factory: pytest.TempPathFactory, small_table: dict[str, Any]) -> Path:
    """The small model as a TOML file."""
    path = tmp_path_factory.mktemp("model") / "small.toml"
    path.write_text(tomli_w.dumps(small_table))
    return path


def test_a_name_that_results_need_themselves_is_refused_at_once(
    tiny_model: SkyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tiny_model.spec.model_dump(mode="json", exclude_none=True)
    table["parameters"]["flux"] = table["parameters"].pop("S_flat")
    table["components"][0]["norm"] = "flux"
    model = SkyModel(model_from_table(table), tiny_model.dataset)
    monkeypatch.setattr(model, "value_and_gradient", None)  # nothing is worked out
    with pytest.raises(InputError, match="parameter 'flux': this name stands for something else"):
        fit(model, Settings(method="laplace"))


def test_result_of_a_fit_that_ends_early_at_a_flat_elbo(small_model: SkyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (methods_svi, svi):
        monkeypatch.setattr(module, "FLAT_EVERY", 50)
    result = fit(small_model, SETTINGS)
    assert result.elbo.size < 5000
    assert result.elbo.size % 50 == 0
    assert result.status == "converged"
    assert result.z.shape == (200, small_model.n_latent)
    # the guide can only lose against the evidence, of which Laplace's estimate is good to a nat here
    assert result.laplace.log_evidence - 4 < result.weights.elbo < result.laplace.log_evidence + 2
    assert abs(result.elbo[-100:].mean() - result.weights.elbo) < 5 * result.elbo[-100:].std()
    theta = small_model.parameters(result.z[3])
    np.testing.assert_allclose(result.derived["S_dif"][3], theta["S_dif"])
    np.testing.assert_allclose(result.log_likelihood[3], small_model.log_likelihood(theta))


def test_ctrl_c_keeps_a_checkpoint(small_model: SkyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = VariationalFit.advance

    def interrupted(self: Any, state: Any, n_steps: int) -> Any:
        if int(state["step"]) >= 5:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, state, n_steps)

    monkeypatch.setattr(VariationalFit, "advance", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(small_model, SETTINGS, folder=tmp_path)
    assert (tmp_path / CHECKPOINT).is_file()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_checkpoint_that_is_there_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    model, path = toys.prior(), tmp_path / CHECKPOINT
    first, other = Settings(method="laplace"), Settings(method="laplace", seed=1)
    fit(model, first, folder=tmp_path)
    kept = path.read_bytes()
    message = (
        r"checkpoint\.npz: the checkpoint of a fit; .* `resume=True`, .* `overwrite=True`, or choose another folder$"
    )
    for settings in (first, other):
        with pytest.raises(InputError, match=message):
            fit(model, settings, folder=tmp_path)
    assert path.read_bytes() == kept
    fit(model, other, folder=tmp_path, overwrite=True)
    with pytest.raises(InputError, match="this fit has seed=1, got 0"):
        fit(model, first, folder=tmp_path, resume=True)
    fit(model, other, folder=tmp_path, resume=True)


@pytest.mark.usefixtures("tiny")
def test_the_command_line_replaces_a_checkpoint_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(outputs, "write_outputs", lambda *_, **__: None)
    line = ["fit", "model.toml", "--data", "sky/dataset.toml", "--method", "laplace", "--quiet", "--out", "out"]
    assert main(line) == 0
    kept = Path("out", CHECKPOINT).read_bytes()
    assert main([*line, "--seed", "1"]) == 2
    assert "holds an unfinished fit; use --resume or --overwrite" in capsys.readouterr().err
    assert Path("out", CHECKPOINT).read_bytes() == kept
    assert main([*line, "--seed", "1", "--overwrite"]) == 0
    assert Path("out", CHECKPOINT).read_bytes() != kept


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"resume": True}, "^`resume=True`: expected the folder of a fit to go on with, got none; give `folder`$"),
        ({"resume": True, "folder": "new"}, r"checkpoint\.npz: no checkpoint to go on from; start anew, without"),
        (
            {"resume": True, "overwrite": True, "folder": "new"},
            "^`resume=True` and `overwrite=True` exclude each other",
        ),
    ],
)
def test_a_fit_that_is_not_there_is_not_gone_on_with(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {**asked, "folder": tmp_path / asked["folder"]} if "folder" in asked else asked
    with pytest.raises(InputError, match=message):
        fit(toys.prior(), Settings(method="laplace"), **given)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def fitted(toml: Path, fermi_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished fit, made by the command line."""
    out = tmp_path_factory.mktemp("fits") / "a small fit"
    options = ["--data-dir", fermi_dir, "--out", out, *GUIDE, "--steps", "30"]
    line = [sys.executable, "-P", "-m", "gammasky", "fit", *map(str, [toml, *options])]
    narrow = {**os.environ, "COLUMNS": "40"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, env=narrow)
    assert done.returncode == 0, done.stderr
    assert all(text.startswith("gammasky: ") for text in done.stderr.splitlines()), done.stderr  # and no warnings
    assert "ELBO" in done.stdout
    return out


def test_command_leaves_everything(fitted: Path) -> None:
    names = {str(path.relative_to(fitted)) for path in fitted.rglob("*") if path.is_file()}
    assert {"posterior.nc", "summary.json", "elbo.csv"} <= names
    assert {"figures/maps.png", "figures/corner.png", "figures/dnds.png", "figures/fluxes.png"} <= names
    assert CHECKPOINT not in names
    posterior = read_posterior(fitted / POSTERIOR)
    assert posterior["posterior"]["Sps_gce"].shape == (1, 5000)
    summary = json.loads((fitted / "summary.json").read_text())
    verdict = summary["verdict"]
    assert verdict["level"] in ("preview", "unreliable")
    assert json.loads(posterior.attrs["verdict"]) == verdict
    assert shlex.split(verdict["remedy"])[-4:] == ["--method", "auto", "--out", f"{fitted}-again"]  # can be pasted
    diagnostics = json.loads(posterior.attrs["diagnostics"])
    assert diagnostics == summary["diagnostics"]
    assert diagnostics["elbo"] <= diagnostics["log_z"]
    assert 1 <= diagnostics["ess"] <= 5000
    weighted = summary["parameters"]["Sps_gce"]["weighted"]
    assert weighted["q05"] < weighted["q50"] < weighted["q95"]
    draws = posterior["posterior"]["Sps_gce"].values
    assert str(np.quantile(draws, 0.5))[:6] in json.dumps(summary)
    assert np.loadtxt(fitted / "elbo.csv", delimiter=",", skiprows=1).shape == (30, 2)


@pytest.mark.slow
def test_killed_and_resumed_by_the_command_line(
    toml: Path, fermi_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Ctrl-C in the middle, then --resume: the posterior is that of an uninterrupted run, to the last bit."""
    monkeypatch.setattr(stage, "N_STARTS", N_STARTS)  # as many as the process that is killed
    line = ["fit", str(toml), "--data-dir", str(fermi_dir), *GUIDE, "--steps", "3000"]
    begun = [sys.executable, "-P", "-m", "gammasky", *line, "--out", str(tmp_path / "cut")]
    with subprocess.Popen(begun, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(text.startswith("gammasky: step") for text in process.stderr)  # ends there, or at the end of stderr
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    assert not (tmp_path / "cut" / POSTERIOR).exists()
    assert main([*line, "--out", str(tmp_path / "cut")]) == 2
    assert "holds an unfinished fit; use --resume or --overwrite" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "cut"), "--resume", "--seed", "9"]) == 2
    assert "this fit has seed=0, got 9" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "cut"), "--resume"]) == 0
    settings = Settings(method="svi", emulator=False, guide="mvn", steps=3000, particles=2)
    whole = run.fit(SkyModel(toml, Dataset.open("fermi", fermi_dir)), settings)
    np.testing.assert_array_equal(read_posterior(tmp_path / "cut" / POSTERIOR)["posterior"]["z"].values[0], whole.z)


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="expected a folder, got a file"), folder_made(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
