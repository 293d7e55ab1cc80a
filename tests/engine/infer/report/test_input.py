"""Folders that are no fit, and files of a fit that are damaged, missing or of another fit: one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import xarray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.report import read_fit

pytestmark = pytest.mark.usefixtures("compiled_fast")


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
def test_damaged_files(folder: Any, file: str, content: bytes, message: str) -> None:
    (folder.path / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        folder.page()


def test_missing_files(folder: Any) -> None:
    (folder.path / "elbo.csv").unlink()
    shutil.rmtree(folder.path / "figures")
    folder.page()  # neither is needed
    (folder.path / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json: no such file"):
        read_fit(folder.path)


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
def test_summary_of_another_fit(folder: Any, entries: dict[str, Any], message: str) -> None:
    folder.change_summary(**entries)
    with pytest.raises(InputError, match=message):
        folder.page()


@pytest.mark.parametrize(("attribute", "message"), [("{}", "no model that this version"), ("x", "no model that this")])
def test_model_that_cannot_be_read(folder: Any, attribute: str, message: str) -> None:
    folder.change_posterior(model=attribute)
    with pytest.raises(InputError, match=message):
        read_fit(folder.path)


def test_posterior_without_a_parameter_or_of_an_older_version(folder: Any) -> None:
    with folder.posterior() as tree:
        tree["posterior"] = xarray.DataTree(tree["posterior"].to_dataset().drop_vars("Sps"))
    with pytest.raises(InputError, match="damaged, has no "):
        read_fit(folder.path)
    with folder.posterior() as tree:
        del tree["predictions"]
    with pytest.raises(InputError, match="written by an older version, without predictions"):
        read_fit(folder.path)
