"""Skies in a folder: which parameters they have, what is refused, and that they open as datasets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gammasky.engine.errors import InputError
from gammasky.engine.infer import simulate as module
from gammasky.engine.infer.simulate import SimulationPlan, parameter_points, simulate_to_folder
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.dataset import Dataset
from tests.fits import posterior_of

N_DRAWS = 30


@pytest.fixture(scope="module")
def point(tiny_files: Path) -> dict[str, Any]:
    return json.loads((tiny_files / "point.json").read_text())


@pytest.fixture(scope="module")
def posterior(tiny_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return posterior_of(tmp_path_factory.mktemp("posterior") / "posterior.nc", tiny_model, N_DRAWS, width=1.0)


def norms(points: list[Any]) -> list[float]:
    return [float(theta["S_flat"]) for theta in points]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_point_for_every_sky(tiny_model: SkyModel, point: dict[str, Any]) -> None:
    points = parameter_points(tiny_model, SimulationPlan(params=point, n=3))
    assert norms(points) == [2.0, 2.0, 2.0]
    np.testing.assert_array_equal(points[2]["mix"], [0.7, 0.3])


def test_draws_of_the_prior(tiny_model: SkyModel) -> None:
    points = parameter_points(tiny_model, SimulationPlan(n=200, seed=4))
    values = np.array(norms(points))
    assert 0.5 < values.min() < values.max() < 6.0
    assert abs(values.mean() - 3.25) < 4.5 * 5.5 / np.sqrt(12 * 200)  # uniform between 0.5 and 6
    assert stats.kstest(values, stats.uniform(0.5, 5.5).cdf).pvalue > 1e-5
    assert norms(parameter_points(tiny_model, SimulationPlan(n=3, seed=4))) == norms(points)[:3]
    assert norms(parameter_points(tiny_model, SimulationPlan(n=3, seed=5))) != norms(points)[:3]


def test_draws_of_a_posterior(tiny_model: SkyModel, posterior: Path) -> None:
    from gammasky.engine.infer import read_posterior

    draws = read_posterior(posterior)["posterior"]["S_flat"].values[0]
    points = parameter_points(tiny_model, SimulationPlan(posterior=posterior, n=N_DRAWS, seed=2))
    assert norms(points) != list(draws)
    assert sorted(norms(points)) == sorted(draws)  # each once
    more = norms(parameter_points(tiny_model, SimulationPlan(posterior=posterior, n=2 * N_DRAWS, seed=2)))
    assert sorted(more) == sorted([*draws, *draws])


@pytest.mark.parametrize("kind", ["prior", "posterior"])
def test_the_first_skies_stay_when_others_are_added(tiny_model: SkyModel, posterior: Path, kind: str) -> None:
    place = posterior if kind == "posterior" else None
    few, more, many = (
        norms(parameter_points(tiny_model, SimulationPlan(posterior=place, n=n, seed=4))) for n in (2, 3, N_DRAWS + 5)
    )
    assert few == more[:2]
    assert more == many[:3]


@pytest.mark.parametrize(
    ("old", "new"),
    [("S_flat", "S_even"), ('["flat", "peak"]', '["flat", "peak", "flat"]'), ("high = 9.0", "high = 8.0")],
)
def test_a_posterior_of_another_model(tiny_model: SkyModel, posterior: Path, tiny: Path, old: str, new: str) -> None:
    other = tiny / "other.toml"
    other.write_text((tiny / "model.toml").read_text().replace(old, new))
    with pytest.raises(InputError, match=r"posterior of another model \('tiny'\), expected one of 'tiny' as it is now"):
        parameter_points(SkyModel(other, tiny_model.dataset), SimulationPlan(posterior=posterior))


def test_a_posterior_of_other_data(tiny_model: SkyModel, posterior: Path, tiny: Path) -> None:
    counts = tiny / "sky" / "counts.npy"
    np.save(counts, np.load(counts) + 1)
    other = SkyModel(tiny_model.spec, Dataset.open(tiny / "sky"))
    with pytest.raises(
        InputError, match=r"posterior of other data than 'tiny': another observation \(SHA-256 of counts\.npy\)"
    ):
        parameter_points(other, SimulationPlan(posterior=posterior))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"S_flat": 6.5}, "parameter 'S_flat': expected a value inside its prior, 0.5 to 6, got 6.5"),
        ({"Sps": 0.0}, "parameter 'Sps': expected a value inside its prior"),
        ({"Spss": 1.0}, "unknown parameter 'Spss'; did you mean 'Sps'"),
        ({"mix": [0.5, 0.6]}, "parameter 'mix': expected fractions"),
    ],
)
def test_bad_points(change: dict[str, Any], message: str, tiny_model: SkyModel, point: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=message):
        parameter_points(tiny_model, SimulationPlan(params=point | change))
    with pytest.raises(InputError, match="parameter 'S_flat' is missing"):
        parameter_points(tiny_model, SimulationPlan(params={"Sps": 1.0, "mix": [0.5, 0.5]}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: expected a whole number of at least 1, got 0"),
        ({"params": {}, "posterior": Path("a.nc")}, "params and posterior exclude each other"),
        ({"sources": True, "simulator": "likelihood"}, "the simulator 'likelihood' knows no sources"),
    ],
)
def test_bad_orders(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimulationPlan(**options)


def test_skies_do_not_depend_on_how_many_there_are(tiny: Path, point: dict[str, Any]) -> None:
    few, many = (
        SimulationPlan(params=point, n=1, seed=6, sources=True),
        SimulationPlan(params=point, n=3, seed=6, sources=True),
    )
    simulate_to_folder("model.toml", "sky", None, tiny / "few", few, quiet=True)
    written = simulate_to_folder("model.toml", "sky", None, tiny / "many", many, quiet=True)
    assert [path.name for path in written] == ["sky_0000.toml", "sky_0001.toml", "sky_0002.toml"]
    first, second = files(tiny / "few"), files(tiny / "many")
    assert len(first) == 3
    assert len(second) == 9
    assert first.keys() <= second.keys()
    skies = [Dataset.open(path) for path in written]
    np.testing.assert_array_equal(Dataset.open(tiny / "few/sky_0000.toml").counts, skies[0].counts)
    assert (skies[0].counts != skies[1].counts).any()
    assert (skies[1].counts != skies[2].counts).any()


def test_a_sky_is_a_dataset(tiny: Path, tiny_model: SkyModel, point: dict[str, Any]) -> None:
    (path,) = simulate_to_folder(
        "model.toml", "sky", None, tiny / "out", SimulationPlan(params=point, seed=6), quiet=True
    )
    sky = Dataset.open(path)
    assert (sky.name, sky.nside) == ("sky_0000", 16)
    assert {name: np.asarray(value).tolist() for name, value in sky.manifest.truth.items()} == point
    assert "simulated (photons, seed 6): model tiny on tiny" in sky.manifest.description
    counts = PhotonSimulator(tiny_model).draw(tiny_model.point(point), seed=6)[0]
    model = SkyModel("model.toml", sky)
    np.testing.assert_array_equal(model.pixels.counts, counts[: model.pixels.n_fit])  # masked ones have counts too
    inside = np.zeros(3072, dtype=bool)
    inside[model.pixels.index] = True
    np.testing.assert_array_equal(sky.counts[0] == -1, ~inside)
    np.testing.assert_array_equal(sky.template("peak"), tiny_model.dataset.template("peak"))


def test_skies_of_a_sky(tiny: Path, point: dict[str, Any]) -> None:
    """A simulated sky can be the data set of further simulations and keeps the base's files."""
    order = SimulationPlan(params=point, simulator="likelihood")
    (path,) = simulate_to_folder("model.toml", "sky", None, tiny / "one", order, quiet=True)
    (path,) = simulate_to_folder("model.toml", str(path), None, tiny / "two", replace(order, seed=1), quiet=True)
    sky = Dataset.open(path)
    np.testing.assert_array_equal(sky.exposure, Dataset.open(tiny / "sky").exposure)
    assert Path(sky.folder) == tiny / "sky"


def test_a_manifest_apart_from_its_files(tiny: Path, point: dict[str, Any]) -> None:
    """With --data MANIFEST --data-dir FOLDER the skies name the manifest, and open with the same --data-dir."""
    (tiny / "sky/dataset.toml").rename(tiny / "elsewhere.toml")
    order = SimulationPlan(params=point, n=1)
    (path,) = simulate_to_folder("model.toml", "elsewhere.toml", Path("sky"), tiny / "out", order, quiet=True)
    assert SkyModel("model.toml", Dataset.open(path, "sky")).pixels.counts.sum() > 0


def test_true_sources(tiny: Path, tiny_model: SkyModel, point: dict[str, Any]) -> None:
    from astropy.table import Table

    order = SimulationPlan(params=point, seed=6, sources=True)
    (path,) = simulate_to_folder("model.toml", "sky", None, tiny / "out", order, quiet=True)
    table = Table.read(tiny / "out/sky_0000_sources.fits")
    _, (sources,) = PhotonSimulator(tiny_model).draw_with_sources(tiny_model.point(point), seed=6)
    assert set(table["population"]) == {"sources"}
    np.testing.assert_array_equal(table["counts"], sources.counts)
    np.testing.assert_allclose(table["flux"] * 1e11, table["S"], rtol=1e-12)  # the exposure is uniform
    assert (table["counts"].sum()) <= Dataset.open(path).counts[Dataset.open(path).counts >= 0].sum()


def test_a_folder_with_skies_is_kept(tiny: Path, point: dict[str, Any]) -> None:
    order = SimulationPlan(params=point, n=2, sources=True)
    simulate_to_folder("model.toml", "sky", None, tiny / "out", order, quiet=True)
    before = files(tiny / "out")
    with pytest.raises(InputError, match=r"`out` .*out: holds simulated skies; use `overwrite=True`"):
        simulate_to_folder("model.toml", "sky", None, tiny / "out", order, quiet=True)
    assert files(tiny / "out") == before


def test_overwrite_leaves_nothing_of_the_older_skies(tiny: Path, point: dict[str, Any]) -> None:
    order = SimulationPlan(params=point, n=2, sources=True)
    simulate_to_folder("model.toml", "sky", None, tiny / "out", order, quiet=True)
    (tiny / "out/sky_notes.txt").write_text("mine")
    before = files(tiny / "out")
    other = SimulationPlan(params=point, n=1, seed=1)
    simulate_to_folder("model.toml", "sky", None, tiny / "out", other, overwrite=True, quiet=True)
    after = files(tiny / "out")
    assert set(after) == {"sky_0000.fits", "sky_0000.toml", "sky_notes.txt"}
    assert after["sky_0000.fits"] != before["sky_0000.fits"]


def test_nothing_is_written_for_a_point_that_cannot_be_simulated(tiny: Path, point: dict[str, Any]) -> None:
    text = (tiny / "model.toml").read_text().replace('"uniform", low = 0.5', '"uniform", low = -9.0')
    (tiny / "model.toml").write_text(text)
    with pytest.raises(InputError, match=r"smooth mean: expected at least 0.*got -"):
        simulate_to_folder(
            "model.toml", "sky", None, tiny / "a/b", SimulationPlan(params=point | {"S_flat": -3.0}), quiet=True
        )
    assert not (tiny / "a").exists()


def test_an_interrupt_leaves_whole_skies(tiny: Path, point: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    write = module.write_sky

    def interrupted(folder: Path, number: int, *arguments: Any, **options: Any) -> Path:
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return write(folder, number, *arguments, **options)

    monkeypatch.setattr(module, "write_sky", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate_to_folder("model.toml", "sky", None, tiny / "out", SimulationPlan(params=point, n=5), quiet=True)
    assert sorted(files(tiny / "out")) == ["sky_0000.fits", "sky_0000.toml", "sky_0001.fits", "sky_0001.toml"]
    for number in (0, 1):
        SkyModel("model.toml", Dataset.open(tiny / f"out/sky_000{number}.toml"))
