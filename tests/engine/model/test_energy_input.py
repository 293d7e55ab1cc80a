"""Models of several energy bins that are refused: one line each, that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table, read_model
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.sky.dataset import Dataset
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, write_bins

Table = dict[str, Any]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_bins(tmp_path_factory.mktemp("input") / "sky", photons(4), tilted(MEAN_EXPOSURE))


def changed(component: int, **values: Any) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table["components"][component] = {
            name: value for name, value in (table["components"][component] | values).items() if value is not None
        }

    return change


def in_counts(table: Table) -> None:
    table["source_grid"] = {"min": 0.1, "max": 50.0}
    table["parameters"]["Fb"] = {"prior": "loguniform", "low": 1.0, "high": 40.0}


def bright(table: Table) -> None:
    table["source_grid"]["flux_max"] = 1.0


POWER = {"power_law": {"index": "index"}}
CASES: dict[str, tuple[Callable[[Table], None], str]] = {
    "no spectrum": (changed(2, spectrum=None), "component 'gce_ps': point sources in 4 energy bins need a spectrum"),
    "counts": (in_counts, "source_grid: in several energy bins dN/dF lives on fluxes; give flux_min and flux_max"),
    "one map": (changed(0, spectrum=None), "component 'flat': template 'flat' is one for 4 energy bins; give the"),
    "profile": (changed(1, spectrum=None), "component 'gce': template 'nfw' is one for 4 energy bins; give the"),
    "length": (changed(0, spectrum=None, norm={"per_bin": ["S_flat", 1.0]}),
               "component 'flat': per_bin: expected 4 norms, one for each energy bin, got 2"),
    "prior length": (changed(0, norm=1.0, spectrum={"free": {"shares": "S_flat"}}),
                     "component 'flat', spectrum, free: fractions 'S_flat' of 4 templates need a dirichlet prior"),
    "table": (changed(0, spectrum={"table": {"energies_gev": [0.5, 30.0], "values": [2.0, 1.0]}}),
              "component 'flat', spectrum, table: its energies, 0.5 to 30 GeV, do not cover the bin 10 to 40 GeV"),
    "dark": (changed(0, spectrum={"table": {"energies_gev": [0.5, 50.0], "values": [0.0, 0.0]}}),
             "component 'flat', spectrum, table: its values are zero in all energy bins"),
    "shares": (changed(0, spectrum={"free": {"shares": [1.0, 1.0]}}),
               "component 'flat', spectrum, free: expected 4 shares, one for each energy bin, got 2"),
    "per bin of sources": (changed(2, norm={"per_bin": "Sps"}), "per_bin is for smooth emission"),
    "twice": (changed(0, norm={"per_bin": "S_flat"}), "norms per bin are a spectrum already"),
    "cut-off": (changed(0, spectrum={"cutoff_power_law": {"index": 2.0, "cutoff_gev": "index", "exponent": "n2"}}),
                "prior of 'n2': exponent must be at least 0, its prior starts at -1"),
    "one end": (lambda t: t.update(source_grid={"flux_min": 1e-12}), "flux_min and flux_max belong together"),
    "both": (lambda t: t["source_grid"].update(min=1.0), "min and max are counts, flux_min and flux_max fluxes"),
    "order": (lambda t: t["source_grid"].update(flux_min=1e-8), "flux_min must be below flux_max, got flux_min=1e-08"),
    "break": (lambda t: t["source_grid"].update(flux_min=1e-13, flux_max=1e-12),
              "break 'Fb' may lie anywhere from 3e-11 to 4e-10 cm^-2 s^-1, but the source grid reaches from 1e-13 to"),
    "typo": (changed(0, spectrum={"power_law": {"indx": 2.0}}), "did you mean 'index'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_line(name: str, four: Dataset) -> None:
    table = joint()
    change, told = CASES[name]
    change(table)
    with pytest.raises(InputError) as error:
        SkyModel(model_from_table(table), four)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_counts_beyond_memory_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    counts = photons(4)
    counts[1, 300:500] = 10_000_000
    dataset = write_bins(tmp_path / "sky", counts, tilted(MEAN_EXPOSURE))
    with pytest.raises(
        InputError, match=r"max_count 1\d{7,} and \d+ nodes of S need \d{2,}\.\d GiB, expected at most 1"
    ):
        SkyModel(model_from_table(joint()), dataset)


def test_bins_with_a_gap_or_that_overlap_are_refused(tmp_path: Path) -> None:
    for number, edges in enumerate(((1.0, 2.0, 2.0, 10.0, 40.0), (1.0, 5.0, 2.0, 10.0, 40.0))):
        with pytest.raises(InputError, match="energy_edges_gev': expected at least two positive, rising energies"):
            write_bins(tmp_path / str(number), photons(4), tilted(MEAN_EXPOSURE), edges=edges)


def test_the_command_line_says_it_in_one_line(
    four: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomli_w

    table = joint()
    changed(2, spectrum=None)(table)
    path = tmp_path / "model.toml"
    path.write_text(tomli_w.dumps(table))
    assert main(["fit", str(path), "--data", str(four.folder), "--out", str(tmp_path / "fit")]) == 2
    told = capsys.readouterr().err
    assert "component 'gce_ps': point sources in 4 energy bins need a spectrum" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "fit").exists()


def test_a_table_lies_where_the_model_file_says(tmp_path: Path) -> None:
    import tomli_w

    np.savetxt(tmp_path / "yield.txt", [[500.0, 1.0], [60_000.0, 1e-4]])
    table = joint()
    changed(0, spectrum={"table": {"file": "yield.txt"}})(table)
    (tmp_path / "model.toml").write_text(tomli_w.dumps(table))
    spec = read_model(tmp_path / "model.toml")
    assert "yield" not in spec.model_dump_json()
    assert spec.components[0].model_dump()["spectrum"] == {
        "table": {"energies_gev": [0.5, 60.0], "values": [1.0, 1e-4]}
    }
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_models_without_spectra_are_written_as_ever() -> None:
    spec = read_model("fiducial")
    assert set(spec.model_dump()["source_grid"]) == {"min", "max", "nodes"}
    assert all("spectrum" not in component for component in spec.model_dump()["components"])
