"""<sigma v> of a smooth excess: the mean J factor by quadrature, and the way there and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from gammasky import Dataset, Settings, SkyModel, fit
from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.infer.dark_matter import CM_PER_KPC, annihilation
from gammasky.engine.model import model_from_table
from gammasky.engine.sky.products.annihilation import AnnihilationYields
from tests.engine.sky.test_annihilation import write_table

SUN_KPC, SCALE_KPC = 8.224, 20.0
TABLE = {
    "name": "excess",
    "region": {"latitude_min": 2.0, "radius_max": 8.0},
    "parameters": {
        "S": {"prior": "uniform", "low": 0.1, "high": 10.0},
        "f": {"prior": "uniform", "low": 0.0, "high": 1.0},
        "gamma": {"prior": "uniform", "low": 0.5, "high": 1.5},
        "S_dif": {"prior": "uniform", "low": 0.1, "high": 30.0},
    },
    "components": [
        {"name": "dif", "norm": "S_dif", "template": "Opi"},
        {"name": "gce", "norm": "S", "template": {"mix": ["f98", {"nfw": {"gamma": "gamma"}}], "fractions": "f"}},
    ],
}

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")


@pytest.fixture(scope="module")
def model() -> SkyModel:
    return SkyModel(model_from_table(TABLE), Dataset.open("demo"))


@pytest.fixture(scope="module")
def yields(tmp_path_factory: pytest.TempPathFactory) -> AnnihilationYields:
    return AnnihilationYields.open(write_table(tmp_path_factory.mktemp("yields") / "table.dat"))


def j_factor(psi: float, gamma: float, local_density: float) -> float:
    """int rho^2 ds [GeV^2 cm^-5] along one line of sight, by SciPy."""

    def density(distance: float) -> float:
        r = np.sqrt(SUN_KPC**2 + distance**2 - 2 * SUN_KPC * distance * np.cos(psi))
        shape = (r / SCALE_KPC) ** -gamma * (1 + r / SCALE_KPC) ** (gamma - 3)
        at_sun = (SUN_KPC / SCALE_KPC) ** -gamma * (1 + SUN_KPC / SCALE_KPC) ** (gamma - 3)
        return local_density * shape / at_sun

    nearest = SUN_KPC * np.cos(psi)
    parts = [(0.0, nearest - 0.3), (nearest - 0.3, nearest), (nearest, nearest + 0.3), (nearest + 0.3, 50.0),
             (50.0, 2000.0)]  # fmt: skip
    return sum(quad(lambda s: density(s) ** 2, *part, limit=200)[0] for part in parts) * CM_PER_KPC


def draws_of(n: int = 3) -> dict[str, np.ndarray]:
    """Draws that are all alike but for the inner slope."""
    gamma = np.array([0.8, 1.1, 1.4])[:n]
    flux = np.tile([[5.0, 2.0]], (n, 1))
    return {"S": np.full(n, 2.0), "f": np.full(n, 0.25), "gamma": gamma, "S_dif": np.full(n, 5.0), "flux": flux}


def test_cross_section_and_back(model: SkyModel, yields: AnnihilationYields) -> None:
    found = annihilation(model, draws_of(), yields, "b", masses_gev=[40.0], local_density_gev_cm3=0.3)
    pixels = model.pixels
    lon, lat = np.deg2rad(pixels.lon_deg[: pixels.n_region]), np.deg2rad(pixels.lat_deg[: pixels.n_region])
    chosen = slice(None, None, 7)
    psi = np.arccos(np.cos(lon) * np.cos(lat))
    one_slope = annihilation(
        model, {name: values[1:2] for name, values in draws_of().items()}, yields, "b", masses_gev=[40.0],
        local_density_gev_cm3=0.3,
    )  # fmt: skip
    some = np.mean([j_factor(angle, 1.1, 0.3) for angle in psi[chosen]])
    whole = float(found.j_factor[1])
    assert whole == pytest.approx(np.mean([j_factor(angle, 1.1, 0.3) for angle in psi]), rel=1e-6)
    assert some == pytest.approx(whole, rel=0.3)
    # 75 % of 2 counts per pixel are of the profile
    intensity = 0.75 * 2.0 / float(model.pixels.counts_per_intensity[0])
    np.testing.assert_allclose(found.intensity, intensity, rtol=1e-12)
    photons = yields.photons("b", [40.0], 2.0, 20.0)[0]
    cross_section = one_slope.cross_sections[2, 0]
    back = cross_section / (8 * np.pi * 40.0**2) * photons * whole
    assert back == pytest.approx(intensity, rel=1e-12)
    assert 1e-28 < cross_section < 1e-23


def test_steeper_profiles_and_denser_halos_need_less(model: SkyModel, yields: AnnihilationYields) -> None:
    found = annihilation(model, draws_of(), yields, "b")
    assert (np.diff(found.j_factor) > 0).all()
    assert (np.diff(found.cross_sections, axis=0) >= 0).all()
    assert (found.limit <= found.cross_sections[-1]).all()
    denser = annihilation(model, draws_of(), yields, "b", local_density_gev_cm3=0.8)
    np.testing.assert_allclose(found.cross_sections / denser.cross_sections, 4.0, rtol=1e-12)
    half = annihilation(model, draws_of(), yields, "tau")
    np.testing.assert_allclose(half.cross_sections / found.cross_sections, 2.0, rtol=1e-8)
    assert json.loads(json.dumps(found.table()))["masses_gev"] == found.masses_gev.tolist()


def test_flattened_halo(model: SkyModel, yields: AnnihilationYields) -> None:
    """A spheroid of axis ratio 1 is the sphere; a flatter one is brighter along its equator, and less bright on average
    over the sky beside the plane."""

    def mean(**shape: float) -> float:
        profile = {"nfw": {"gamma": "gamma", **shape}}
        component = TABLE["components"][1] | {"template": {"mix": ["f98", profile], "fractions": "f"}}
        table = TABLE | {"components": [TABLE["components"][0], component]}
        found = annihilation(
            SkyModel(model_from_table(table), model.dataset), draws_of(), yields, "b", masses_gev=[40.0]
        )
        return float(found.j_factor[1])

    assert mean(axis_ratio=1.0 + 1e-9) == pytest.approx(mean(), rel=1e-6)
    assert mean(axis_ratio=0.6) < mean()


def test_what_is_refused(model: SkyModel, yields: AnnihilationYields) -> None:
    draws = draws_of()
    for options, told in (
        ({"component": "gc"}, "smooth component 'gc'.*'gce'"),
        ({"component": "dif"}, "component 'dif': expected one density profile in its template, found 0"),
        ({"masses_gev": [1.0]}, "expected masses above the lowest energy, 2 GeV"),
        ({"local_density_gev_cm3": 0.0}, "local density: expected a positive number"),
    ):
        with pytest.raises(InputError, match=told):
            annihilation(model, draws, yields, "b", **options)
    field = {"harmonics": 1, "amplitude": 0.1, "coefficients": "z"}
    normal = {"z": {"prior": "normal", "mean": 0.0, "sd": 1.0}}
    for option, more in (({"hemisphere": "north"}, {}), ({"field": field}, normal)):
        mix = {"mix": ["f98", {"nfw": {"gamma": "gamma"}, **option}], "fractions": "f"}
        components = [TABLE["components"][0], TABLE["components"][1] | {"template": mix}]
        table = TABLE | {"components": components, "parameters": TABLE["parameters"] | more}
        with pytest.raises(InputError, match="a template that is cut or modulated is no density"):
            annihilation(SkyModel(model_from_table(table), model.dataset), draws, yields, "b")


def test_command(model: SkyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(model, Settings(method="laplace", seed=1), quiet=True).save(tmp_path / "fit")
    table = write_table(tmp_path / "table.dat")
    given = ["dark-matter", str(tmp_path / "fit"), "--yields", str(table), "--channel", "b", "--channel", "tau"]
    assert main([*given, "--mass", "40"]) == 0
    told = capsys.readouterr().out
    assert "b, 40 GeV: <sigma v> = " in told
    assert "tau, 40 GeV" in told
    assert json.loads((tmp_path / "fit" / "dark_matter.json").read_text())["tau"]["masses_gev"] == [40.0]
    assert (tmp_path / "fit" / "dark_matter.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*given[:4], "--channel", "bb"]) == 2
    assert "channel 'bb'" in capsys.readouterr().err
