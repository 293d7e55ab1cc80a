"""`gammasky data show` and `gammasky data import`: what files are told to be, and maps of others as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from gammasky.cli import main
from gammasky.engine.sky import Dataset
from tests.engine.sky.products.conftest import (
    ENERGIES_MEV,
    ebounds,
    energies,
    image,
    skymap,
    table,
    write,
)

COUNTS = np.random.default_rng(1).poisson(3.0, (2, 192))
Captured = pytest.CaptureFixture[str]


def shown(capsys: Captured, *words: object) -> dict[str, str]:
    """What is told of a file: its kind under its name, and the rest by what it is."""
    assert main(["data", "show", *map(str, words)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    name, kind = first.split(": ", 1)
    return {name: kind} | {line.split()[0]: line.strip() for line in rest}


def refused(capsys: Captured, *words: object) -> str:
    assert main(["data", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


PSF = {"Energy": ("D", ENERGIES_MEV), "Exposure": ("D", np.ones(3)), "Psf": ("4D", np.ones((3, 4)))}
SOURCES = {
    "Source_Name": ("3A", ["A", "B"]),
    "RAJ2000": ("E", [1, 2]),
    "DEJ2000": ("E", [1, 2]),
    "Flux1000": ("E", [1e-9, 2e-9]),
}
FILES: dict[str, tuple[list[Any], str, list[str]]] = {
    "counts": (
        [skymap(COUNTS, COORDSYS="EQU"), ebounds()],
        "counts cube",
        ["HEALPix nside 4, equatorial", "2, 1 to 10 GeV (edges 1, 3, 10)", f"photons {COUNTS.sum():,}; by bin"],
    ),
    "image": (
        [image(np.ones((2, 4, 6), dtype=int)), ebounds()],
        "counts cube",
        ["CAR 6 x 4 pixels of 1 deg, galactic"],
    ),
    "exposure": (
        [skymap(np.ones((3, 192)), name="HPXEXPOSURES", COORDSYS=None), energies()],
        "exposure cube",
        ["not said; the rule of the tool that wrote it", "3, 1 to 10 GeV", "cm2 s"],
    ),
    "exposure of bins": (
        [skymap(np.ones((2, 192)), TUNIT1="cm2 s", TUNIT2="cm2 s"), ebounds()],
        "map",
        ["maps 2", "unit cm2 s", "sums 192, 192"],
    ),
    "diffuse": ([image(np.ones((3, 4, 6))), energies()], "diffuse cube", ["which the file does not say"]),
    "map": ([skymap(COUNTS[:1])], "map", ["maps 1", "unit not said", f"sums {COUNTS[0].sum()}; lowest 0"]),
    "photons": ([table("EVENTS", {"ENERGY": ("E", ENERGIES_MEV)})], "photon list (FT1)", ["3 rows, 1 columns"]),
    "orbit": ([table("SC_DATA", {"START": ("D", ENERGIES_MEV)})], "spacecraft file (FT2)", ["1 (SC_DATA)"]),
    "psf": (
        [table("PSF", PSF), table("THETA", {"Theta": ("D", np.arange(4.0))})],
        "PSF table",
        ["radii 4, 0 to 3 deg", "68 % within"],
    ),
    "sources": ([table("CATALOG", SOURCES)], "catalogue", ["2, 0 of them extended", "1 to 100 GeV"]),
}


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_is(tmp_path: Path, capsys: Captured, name: str) -> None:
    """Whatever its name."""
    hdus, kind, lines = FILES[name]
    told = shown(capsys, write(tmp_path / "file.dat", *hdus))
    assert told["file.dat"] == kind
    text = " | ".join(" ".join(line.split()) for line in told.values())
    for line in lines:
        assert line in text


def test_arrays_and_texts(tmp_path: Path, capsys: Captured) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 192)))
    np.save(tmp_path / "m.npy", np.arange(192) % 2 == 0)
    np.save(tmp_path / "odd.npy", np.ones(7))
    (tmp_path / "iso.txt").write_text("1000 1e-7 0\n2000 5e-8 0\n")
    assert main(["data", "show", str(tmp_path)]) == 0
    kinds = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert kinds == [
        "a.npy: map (array)", "iso.txt: isotropic spectrum", "m.npy: mask (array)", "odd.npy: array of no HEALPix size",
    ]  # fmt: skip


def test_a_folder_with_a_manifest_and_what_is_not_known(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "dataset.toml").write_text("")
    write(tmp_path / "x.fits", table("ODD", {"A": ("D", [1.0])}))
    (tmp_path / ".hidden").write_text("")
    assert main(["data", "show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "dataset.toml: the manifest of a dataset"
    assert "x.fits: not known" in out
    assert "its extensions are 0 (PRIMARY), 1 (ODD)" in out
    assert ".hidden" not in out


def test_frames_that_are_not_said(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path / "c.fits", skymap(COUNTS, COORDSYS=None), ebounds())
    assert "no keyword COORDSYS in the header" in refused(capsys, "show", path)
    assert "nside 4, equatorial" in shown(capsys, path, "--frame", "equatorial")["pixels"]


@pytest.mark.parametrize("name", ["counts", "image"])
def test_maps_are_drawn(tmp_path: Path, capsys: Captured, name: str) -> None:
    told = shown(capsys, write(tmp_path / "f", *FILES[name][0]), "--plot", tmp_path / "m.png")
    assert told["map:"].endswith("m.png")
    assert imread(tmp_path / "m.png").std() > 0.05


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "{}/x.fits"], "x.fits: no file that is known (a map, a cube, a PSF table, a catalogue, photon list"),
        (["show", "{}/notes.md"], "notes.md: no file that is known: of text there are spectra"),
        (["show", "{}/absent"], "absent: file not found"),
        (["show", "{}/t.fits"], "t.fits: not a complete .gz file"),
        (["show", "{}", "--plot", "{}/a.png"], "a folder cannot be drawn; name one of its files"),
        (
            ["show", "{}/iso.txt", "--plot", "{}/a.png"],
            "spectrum, which has no map to draw; leave --plot out",
        ),
        (["show", "{}/empty"], "empty: no files in it"),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, capsys: Captured, words: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "iso.txt").write_text("1000 1e-7 0\n2000 5e-8 0\n")
    (tmp_path / "notes.md").write_text("# Notes\n\nsome words | and others\n")
    (tmp_path / "t.fits").write_bytes(b"\x1f\x8b\x08\x00")
    write(tmp_path / "x.fits", table("ODD", {"A": ("D", [1.0])}))
    assert message in refused(capsys, *(word.format(tmp_path) for word in words))
    assert not (tmp_path / "a.png").exists()


# ---------------------------------------------------------------- maps as NPTFit has them

IMPORT = ["--energy", "2", "20", "--psf-sigma", "0.2"]


def nptfit_maps(folder: Path, **changes: np.ndarray | None) -> Path:
    folder.mkdir()
    maps = {
        "fermidata_counts": COUNTS[0], "fermidata_exposure": np.full(192, 1e11), "fermidata_pscmask": COUNTS[1] > 3,
        "template_dif": 1.0 + COUNTS[1], "template_iso": np.ones(192), **changes,
    }  # fmt: skip
    for name, values in maps.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    return folder


def test_nptfit_maps_become_a_data_set(tmp_path: Path, capsys: Captured) -> None:
    folder = nptfit_maps(tmp_path / "maps")
    assert main(["data", "import", "nptfit", str(folder), "--out", str(tmp_path / "sky"), *IMPORT]) == 0
    assert capsys.readouterr().out == f"dataset: {tmp_path / 'sky' / 'dataset.toml'}\n"
    dataset = Dataset.open(tmp_path / "sky")
    assert (dataset.name, dataset.nside, dataset.energy_edges_gev.tolist()) == ("sky", 4, [2.0, 20.0])
    np.testing.assert_array_equal(dataset.counts[0], COUNTS[0])
    assert (dataset.template_names, dataset.mask_names) == (["dif", "iso"], ["fermidata_pscmask"])
    np.testing.assert_array_equal(dataset.mask("fermidata_pscmask"), COUNTS[1] > 3)
    np.testing.assert_array_equal(dataset.template("dif")[0], 1.0 + COUNTS[1])
    assert dataset.template_unit("dif") == "counts"
    assert f"--out {tmp_path / 'sky'}: it is there" in refused(
        capsys, "import", "nptfit", folder, "--out", tmp_path / "sky", *IMPORT
    )


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"fermidata_counts": None}, IMPORT, "expected one file '*counts*.npy', got 0 (fermidata_exposure.npy"),
        ({"more_counts": COUNTS[0]}, IMPORT, "got 2 (fermidata_counts.npy, more_counts.npy)"),
        ({"template_iso": np.ones(48)}, IMPORT, "template_iso.npy: 48 pixels, but fermidata_counts.npy has 192"),
        ({"fermidata_counts": COUNTS[0] + 0.5}, IMPORT, "fermidata_counts.npy: counts must be whole numbers"),
        ({"fermidata_counts": np.ones(7)}, IMPORT, "7 pixels is no HEALPix size"),
        ({}, ["--energy", "20", "2", "--psf-sigma", "0"], "expected two positive, rising energies [GeV], got 20 2"),
        ({}, ["--energy", "2", "20", "--psf-sigma", "-1"], "--psf-sigma: expected a number of at least 0"),
    ],
)  # fmt: skip
def test_folders_that_are_no_such_data(
    tmp_path: Path, capsys: Captured, changes: dict[str, Any], words: list[str], message: str
) -> None:
    folder = nptfit_maps(tmp_path / "maps", **changes)
    assert message in refused(capsys, "import", "nptfit", folder, "--out", tmp_path / "sky", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
