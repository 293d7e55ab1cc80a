"""The command line: what reaches the engine, and what every kind of trouble looks like from outside."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gammasky import __version__
from gammasky.cli import _command_of, main
from gammasky.commands.fit import command
from gammasky.commands.options import in_options
from gammasky.engine import runtime
from gammasky.engine.errors import InputError, unknown_name

Stub = Callable[..., None]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes each configuration of the engine instead of doing it."""
    calls: list[str] = []
    monkeypatch.setattr(runtime, "configure", lambda: calls.append("configure"))
    return calls


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Put a function in place of an engine function that a command imports."""

    def put(module: str, **functions: Any) -> None:
        replacement = ModuleType(module)
        replacement.__dict__.update(functions)
        monkeypatch.setitem(sys.modules, module, replacement)
        parent, _, name = module.rpartition(".")
        monkeypatch.setattr(sys.modules[parent], name, replacement, raising=False)

    return put


@pytest.fixture
def failing_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `gammasky fit` end in an exception."""

    def fail_with(error: BaseException) -> None:
        def run_fit(*_arguments: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr("gammasky.commands.fit.run_fit", run_fit)

    return fail_with


FIT = ["fit", "--out", "somewhere"]


def only_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.strip()


def test_fit_hands_defaults_to_the_engine(monkeypatch: pytest.MonkeyPatch, started: list[str], tmp_path: Path) -> None:
    calls = []
    monkeypatch.setattr(
        "gammasky.commands.fit.run_fit", lambda *args, **options: calls.append((args, options, list(started)))
    )
    assert main(["fit", "--out", str(tmp_path)]) == 0
    from gammasky.engine.infer.settings import Settings

    options = {"settings": Settings()}
    flags = {"honest": None, "resume": False, "overwrite": False, "quiet": False}
    assert calls == [(("fiducial", "fermi", None, tmp_path), options | flags, ["configure"])]


def test_a_remedy_is_a_command_that_can_be_pasted() -> None:
    remedy = {"method": "auto", "draws": 5}
    assert command("fiducial", "fermi", None, "my fit-again", remedy) == (
        "gammasky fit fiducial --data fermi --method auto --draws 5 --out 'my fit-again'"
    )
    assert "--data mine --data-dir here --method auto" in command("m", "mine", Path("here"), "x", remedy)


def test_fit_hands_every_option_to_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []
    monkeypatch.setattr("gammasky.commands.fit.run_fit", lambda *args, **options: calls.append((args, options)))
    names = ["gce_flows", "--data", "mine", "--data-dir", "here", "--guide", "flow"]
    numbers = ["--steps", "7", "--particles", "3", "--lr", "0.01", "--seed", "5"]
    numbers += [
        "--schedule",
        "cosine",
        "--early-stop",
        "--alpha",
        "0.5",
        "--starts",
        "2",
        "--method",
        "svi",
        "--no-emulator",
    ]
    assert main(["fit", *names, *numbers, "--overwrite", "--quiet", "--out", str(tmp_path)]) == 0
    numbers = ["--method", "auto", "--chains", "6", "--warmup", "70", "--draws", "80"]
    assert main(["fit", *numbers, "--out", str(tmp_path)]) == 0
    from gammasky.engine.infer.settings import Settings

    svi = {"guide": "flow", "steps": 7, "particles": 3, "learning_rate": 0.01, "schedule": "cosine"}
    options = {"settings": Settings(method="svi", emulator=False, **svi, alpha=0.5, starts=2, early_stop=True, seed=5)}
    flags = {"honest": None, "resume": False, "overwrite": True, "quiet": True}
    assert calls[0] == (("gce_flows", "mine", Path("here"), tmp_path), options | flags)
    assert calls[1][1]["settings"] == Settings(method="auto", chains=6, warmup=70, draws=80)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fti"], "No such command 'fti'"),
        (["fit"], "Missing option '--out'"),
        ([*FIT, "--steps", "0"], "Invalid value for '--steps'"),
        ([*FIT, "--particles", "-1"], "Invalid value for '--particles'"),
        ([*FIT, "--lr", "0"], "expected a finite number above 0, got 0"),
        ([*FIT, "--lr", "nan"], "expected a finite number above 0, got nan"),
        ([*FIT, "--lr", "inf"], "expected a finite number above 0, got inf"),
        ([*FIT, "--seed", "-1"], "Invalid value for '--seed'"),
        ([*FIT, "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["data"], "Missing command"),
        (["loglike", "fiducial"], "Missing option '--params'"),
    ],
)
def test_usage_errors_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in only_line(printed.err)
    assert printed.err.startswith("gammasky: error: ")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("counts 'c.npy': expected 12,\n  got 13"), "gammasky: error: counts 'c.npy': expected 12, got 13"),
        (unknown_name("guide", "iff", ["iaf", "mvn"]), "unknown guide 'iff'; did you mean 'iaf'? (known: iaf, mvn)"),
        (OSError(errno.ENOSPC, "No space left on device", "a.nc"), "file 'a.nc': No space left on device; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), "file 'b': Permission denied; check its permissions"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: file: No space left on device; free some space"),
        (FileExistsError(errno.EEXIST, "File exists", "c"), "file 'c': File exists; something else of that name is in"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "c/d"), "file 'c/d': Not a directory; a part of"),
    ],
)
def test_what_a_user_can_act_on_is_one_line(
    error: Exception, message: str, failing_fit: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing_fit(error)
    assert main(FIT) == 2
    assert message in only_line(capsys.readouterr().err)


def test_an_interrupt_is_one_line(
    failing_fit: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing_fit(KeyboardInterrupt())
    assert main(FIT) == 130
    assert only_line(capsys.readouterr().err.lstrip("\n")) == "gammasky: error: interrupted"


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.EIO, "bug"), EOFError("bug"), RuntimeError("bug")])
def test_a_bug_keeps_its_traceback(error: Exception, failing_fit: Callable[[BaseException], None]) -> None:
    failing_fit(error)
    with pytest.raises(type(error), match="bug"):
        main(FIT)


@pytest.mark.parametrize("command", ["campaign run", "campaign resume", "study", "calibrate", "tune"])
def test_commands_of_many_fits_have_the_same_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    for option in ("--executor", "--address", "--workers", "--keep-going", "--allow-mixed", "--quiet"):
        assert option in told


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_models_reads_descriptions_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thin.toml").write_text('description = "a thin disk"\n[anything]\nat = "all"\n')
    (tmp_path / "bare.toml").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("no model")
    monkeypatch.setattr("importlib.resources.files", lambda _package: tmp_path)
    assert main(["models"]) == 0
    assert capsys.readouterr().out == "bare  (no description)\nthin  a thin disk\n"


def test_bench_prints_table_and_json(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def likelihood_benchmark(*arguments: Any) -> dict[str, float]:
        calls.append(arguments)
        return {"model_ms_per_particle": 1.25, "particles": 4}

    stub("gammasky.engine.bench", likelihood_benchmark=likelihood_benchmark)
    assert main(["bench", "likelihood", "--particles", "4", "--repeats", "2"]) == 0
    table = capsys.readouterr().out
    assert "full model" in table
    assert "1.25" in table
    assert main(["bench", "likelihood", "--json"]) == 0
    assert '"model_ms_per_particle": 1.25' in capsys.readouterr().out
    assert calls == [("fermi", None, 4, 2, "fiducial"), ("fermi", None, 8, 20, "fiducial")]


def test_an_unreadable_output_pipe_ends_quietly(tmp_path: Path) -> None:
    import subprocess

    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-P", "-c", "import sys; from gammasky.cli import main; sys.exit(main(['--help']))"]
    result = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "message", "told"),
    [
        (["fit"], "`out` a: holds a fit; use `overwrite=True`", "--out a: holds a fit; use --overwrite"),
        (["study", "masks"], "`n_skies` 3: none", "--skies 3: none"),
        (
            ["study"],
            "or use `address='local'`, or leave `address` out",
            "or use --address local, or leave --address out",
        ),
        (["campaign", "run", "x.toml"], "name it with `data_dir`", "name it with --data-dir"),
        (["models"], "run `gammasky data fetch` or give `data_dir`", "run `gammasky data fetch` or give `data_dir`"),
        (["report", "x"], "`folder` x: none", "`folder` x: none"),  # an argument, not an option
    ],
)
def test_messages_name_the_options_of_the_command(words: list[str], message: str, told: str) -> None:
    assert in_options(message, _command_of(words)) == told
