"""`gammasky doctor`: findings, remedies, exit code; and the settings of JAX that it looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from gammasky import doctor
from gammasky.cli import main
from gammasky.doctor import Finding
from gammasky.engine.errors import InputError

FINE = Finding("numpy", True, "2.4.0", "pip install numpy")
ABSENT = Finding("data set fermi", False, "not found", "gammasky data fetch fermi", required=False)
MISSING = Finding("numba", False, "not installed", "pip install numba")


@pytest.mark.parametrize(
    ("findings", "code"), [([FINE], 0), ([FINE, ABSENT], 0), ([FINE, MISSING], 1), ([ABSENT, MISSING], 1)]
)
def test_exit_code_says_whether_a_fit_can_run(
    findings: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert main(["doctor"]) == code
    assert ("a fit can run on the CPU" in capsys.readouterr().out) == (code == 0)
    assert main(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["fit_can_run"] is (code == 0)
    assert [check["name"] for check in report["checks"]] == [finding.name for finding in findings]


def test_a_remedy_stands_only_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [FINE, ABSENT, MISSING])
    main(["doctor"])
    fine, absent, missing, _ = capsys.readouterr().out.splitlines()
    assert fine.split() == ["ok", "numpy", "2.4.0"]
    assert absent.startswith("absent ")
    assert absent.endswith("not found; gammasky data fetch fermi")
    assert missing.startswith("missing ")
    assert missing.endswith("not installed; pip install numba")


def test_versions_are_those_installed() -> None:
    values = {finding.name: finding.value for finding in doctor.examine()}
    for name in ("gammasky", "numpy", "scipy", "numba", "jax", "jaxlib", "numpyro", "optax", "healpy", "astropy"):
        assert values[name] == metadata.version(name)
    assert values["double precision"] == "float64"
    assert "cpu" in values["JAX devices"] or "gpu" in values["JAX devices"]
    assert "own pool over nogil kernels" in values["kernel threads"]


def test_a_missing_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name in ("numba", "ray"):
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    findings = {finding.name: finding for finding in doctor._packages()}
    assert findings["numba"].status == "missing"
    assert findings["ray"].status == "absent"  # campaigns only
    assert findings["numpy"].status == "ok"


def test_a_bad_thread_count_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "many")
    (finding,) = [finding for finding in doctor.examine() if finding.name == "kernel threads"]
    assert finding.status == "missing"
    assert "expected a whole number of at least 1, got 'many'" in finding.value


@pytest.mark.parametrize(
    ("error", "value", "remedy"),
    [
        (InputError("name it"), "name it", ""),
        (ImportError("broken\nlibrary"), "ImportError: broken library", "pip install --force-reinstall gammasky"),
    ],
)
def test_a_check_that_fails_is_a_finding(error: Exception, value: str, remedy: str) -> None:
    def check() -> list[Finding]:
        raise error

    assert doctor._guarded("JAX", check) == [Finding("JAX", False, value, remedy)]


def test_configure_sets_double_precision_and_the_cache(tmp_path: Path) -> None:
    code = (
        "from gammasky.engine.runtime import configure; configure(); configure(); import jax\n"
        "print(jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir)"
    )
    places = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    places["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")  # where the package is, if it is not installed

    def answer(environment: dict[str, str]) -> list[str]:
        result = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout.split()

    assert answer(places | {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}) == ["True", "/elsewhere"]
    precise, folder = answer(places)
    assert precise == "True"
    assert Path(folder).parts[-2:] == ("gammasky", "jax")
