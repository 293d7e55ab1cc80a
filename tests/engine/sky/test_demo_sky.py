"""The demo sky itself: shapes against integrals of their own, counts against what they were drawn from."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
from scipy.integrate import quad

from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import Dirichlet
from gammasky.engine.sky import Dataset, GaussianPSF, fetch
from gammasky.engine.sky.demo.build import simulated_counts, whole_sky
from gammasky.engine.sky.demo.expectation import SOURCE_GRID, Expectation, expectation
from gammasky.engine.sky.demo.lines import line_of_sight_map
from gammasky.engine.sky.demo.shapes import _smoothing, bar, gas_disk
from gammasky.engine.sky.demo.sources import bright_sources
from gammasky.engine.sky.observation import Observation

N_PIX = 12 * 64**2
LON, LAT = healpy.pix2ang(64, np.arange(N_PIX), lonlat=True)
LON = np.where(LON > 180, LON - 360, LON)
REGION = (np.abs(LAT) >= 2) & (np.cos(np.deg2rad(LAT)) * np.cos(np.deg2rad(LON)) >= np.cos(np.deg2rad(25)))
GAS = ("Opi", "Api", "Fpi")
COMPTON = ("Oic", "Aic", "Fic")
BULGES = ("macias2019", "coleman2019", "f98")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch("demo", tmp_path_factory.mktemp("demo") / "sky", progress=False)


@pytest.fixture(scope="module")
def demo(folder: Path) -> Dataset:
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def model(demo: Dataset) -> SkyModel:
    """The preset as it is."""
    return SkyModel("fiducial", demo)


@pytest.fixture(scope="module")
def expected(demo: Dataset) -> tuple[Observation, Expectation]:
    pixels = whole_sky(demo)
    return pixels, expectation(demo, pixels, demo.manifest.truth)


def intensity(demo: Dataset, name: str) -> np.ndarray:
    values = demo.template(name)[0]
    return values / demo.exposure[0] if demo.template_unit(name) == "counts" else values


def along(demo: Dataset, name: str, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    return np.atleast_1d(healpy.get_interp_val(intensity(demo, name), lon, lat, lonlat=True))


def test_the_same_files_again(folder: Path, tmp_path: Path) -> None:
    again = fetch("demo", tmp_path / "again", progress=False)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in again.iterdir()}
    assert [name for name in names if (folder / name).read_bytes() != (again / name).read_bytes()] == []


def test_maps_are_positive_on_the_whole_sky(demo: Dataset) -> None:
    for name in demo.template_names:
        values = demo.template(name)
        assert values.shape == (1, N_PIX)
        assert np.isfinite(values).all()
        assert (values > 0).all(), name


def test_exposure_rises_smoothly_by_eight_per_cent(demo: Dataset) -> None:
    relative = demo.exposure[0] / demo.exposure[0].mean()
    assert 0.92 <= relative.min() < 0.925
    assert 1.075 < relative.max() <= 1.08
    assert np.ptp(relative[REGION]) > 0.1
    neighbours = healpy.get_all_neighbours(64, np.arange(N_PIX))
    steps = np.abs(relative[neighbours] - relative)[neighbours >= 0]
    assert steps.max() < 0.006


@pytest.mark.parametrize("name", GAS + COMPTON)
@pytest.mark.parametrize("lon", [0.0, 17.0, -17.0, 90.0, 178.0])
def test_disks_fall_with_latitude(demo: Dataset, name: str, lon: float) -> None:
    for sign in (-1, 1):
        lat = sign * np.linspace(1.0, 40.0, 60)
        profile = along(demo, name, np.full(60, lon), lat)
        assert (np.diff(profile) < 0).all()
        assert profile[0] > (3 if name in GAS else 1.2) * profile[-1]


@pytest.mark.parametrize("name", GAS + COMPTON)
def test_disks_are_brightest_at_the_centre_and_symmetric(demo: Dataset, name: str) -> None:
    lon = np.array([3.0, 20.0, 50.0, 100.0, 179.0])
    for lat in (0.0, 5.0):
        profile = along(demo, name, lon, np.full(5, lat))
        assert (np.diff(profile) < 0).all()
        np.testing.assert_allclose(along(demo, name, -lon, np.full(5, -lat)), profile, rtol=2e-3)


def test_thicker_disks_reach_higher(demo: Dataset) -> None:
    def contrast(name: str) -> float:
        return float(np.divide(*along(demo, name, np.zeros(2), np.array([2.0, 20.0]))))

    assert contrast("Opi") > contrast("Api") > contrast("Oic") > contrast("Aic") > contrast("Fic")
    inner = {name: np.divide(*along(demo, name, np.array([2.0, 25.0]), np.full(2, 2.0))) for name in ("Opi", "Fpi")}
    assert inner["Fpi"] < inner["Opi"]  # the hole


def disk_density(x: float, y: float, z: float) -> float:
    radius = np.hypot(x, y)
    return float(np.exp(-radius / 3.0) / np.cosh(z / 0.28) ** 2 * (1 - 0.8 * np.exp(-((radius / 2.0) ** 2))))


def bar_density(x: float, y: float, z: float) -> float:
    angle = np.deg2rad(20.0)
    major, minor = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    r = (((major / 1.7) ** 2 + (minor / 0.7) ** 2) ** 2 + (z / 0.5) ** 4) ** 0.25
    return float(1.0 / np.cosh(r) ** 2)


@pytest.mark.parametrize("kind", ["gas", "bar"])
def test_line_of_sight_integrals(kind: str) -> None:
    """Against adaptive quadrature of the density written out once more."""
    if kind == "gas":
        found, density = line_of_sight_map(gas_disk(0.14, 3.0, 2.0), 64), disk_density
    else:
        found, density = line_of_sight_map(bar(1.7, 0.7, 0.5, 20.0), 64, axisymmetric=False), bar_density
    for lon, lat in [(0.4, 0.4), (3, -2), (-8, 5), (20, 12), (-35, -1), (90, 30), (0, 70), (170, -10)]:
        pixel = healpy.ang2pix(64, lon, lat, lonlat=True)
        l_rad, b_rad = np.deg2rad(LON[pixel]), np.deg2rad(LAT[pixel])

        def at(s: float, l_rad: float = l_rad, b_rad: float = b_rad) -> float:
            q = s * np.cos(b_rad)
            return density(8.224 - q * np.cos(l_rad), q * np.sin(l_rad), s * np.sin(b_rad))

        points = sorted({0.5, 8.224 * max(np.cos(l_rad) * np.cos(b_rad), 0.1)})
        wanted, _ = quad(at, 0.0, 40.0, points=points, limit=400, epsrel=1e-8)
        assert found[pixel] == pytest.approx(wanted, rel=5e-3)


def test_near_end_of_the_bars_is_at_positive_longitude(demo: Dataset) -> None:
    for name in BULGES:
        near, far = along(demo, name, np.array([12.0, -12.0]), np.full(2, 2.0))
        assert near > 1.2 * far


def test_bulges_are_boxier_than_an_ellipse(demo: Dataset) -> None:
    """Where the contour crosses the axes fixes an ellipse; at 45 degrees on it a boxy bulge is brighter."""
    for name in BULGES:
        lon, lat = np.linspace(1, 20, 400), np.linspace(1, 20, 400)
        on_l, on_b = along(demo, name, -lon, 0 * lon), along(demo, name, 0 * lat, lat)
        level = along(demo, name, np.zeros(1), np.array([5.0]))[0]
        edge_l, edge_b = np.interp(-level, -on_l, lon), np.interp(-level, -on_b, lat)
        diagonal = along(demo, name, -edge_l * np.sqrt([0.5]), edge_b * np.sqrt([0.5]))[0]
        assert diagonal > 1.1 * level


def test_bubbles_are_two_and_empty_outside(demo: Dataset) -> None:
    values = intensity(demo, "bub") / intensity(demo, "bub").max()
    outside = (np.abs(LON) > 35) & (np.abs(LAT) < 65) | (np.abs(LAT) > 75)
    assert values[outside].max() < 1e-3
    assert along(demo, "bub", np.array([0.0]), np.array([0.0]))[0] < 0.7 * intensity(demo, "bub").max()
    for sign in (-1, 1):
        inside = np.hypot(LON / 19, (LAT - sign * 26) / 25) < 0.7
        assert values[inside].min() > 0.95


def test_bright_sources_and_their_mask(demo: Dataset) -> None:
    lon, lat, flux = bright_sources()
    assert len(flux) == 2400
    assert flux.min() >= 1
    assert flux.max() <= 100
    values = intensity(demo, "psc_3fgl")
    scale = values.mean() * 4 * np.pi / flux.sum() * demo.exposure[0].mean()
    assert scale == pytest.approx(1.0, rel=5e-3)  # no photon is lost
    vectors, sources = healpy.ang2vec(LON, LAT, lonlat=True), healpy.ang2vec(lon, lat, lonlat=True)
    nearest = np.rad2deg(np.arccos(np.clip((vectors @ sources.T).max(axis=1), -1, 1)))
    np.testing.assert_array_equal(demo.mask("3fgl_0p8deg"), nearest <= 0.8)
    assert 0.1 < demo.mask("3fgl_0p8deg")[REGION].mean() < 0.25
    assert values[nearest < 0.3].mean() > 20 * np.median(values[nearest > 0.8])


def test_smoothing_is_the_psf() -> None:
    rng = np.random.default_rng(3)
    sky = healpy.ud_grade(rng.random(12 * 8**2), 64)
    found = _smoothing(64, GaussianPSF(sigma_deg=2.0))(sky)
    wanted = healpy.smoothing(sky, sigma=np.deg2rad(2.0), iter=1)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert np.abs(found - sky).max() > 0.1


def test_truth_is_inside_the_priors(demo: Dataset, model: SkyModel) -> None:
    truth = demo.manifest.truth
    assert set(truth) == set(model.spec.parameters)
    for name, prior in model.spec.parameters.items():
        values = np.atleast_1d(truth[name])
        if isinstance(prior, Dirichlet):
            assert values.sum() == pytest.approx(1.0)
            assert values.min() > 0.05
        else:
            low, high = prior.support()
            assert (values > low + 0.05 * (high - low)).all(), name
            assert (values < high - 0.05 * (high - low)).all(), name


def test_the_model_expects_what_was_simulated(
    demo: Dataset, model: SkyModel, expected: tuple[Observation, Expectation]
) -> None:
    pixels, own = expected
    np.testing.assert_array_equal(pixels.index[: model.pixels.n_fit], model.pixels.index[: model.pixels.n_fit])
    sky, size = model.sky(model.point(demo.manifest.truth)), model.pixels.n_fit
    mean = np.asarray(model.expectation.smooth_mean(sky, size))
    templates = np.asarray(model.expectation.source_templates(sky, size))
    dnds = np.asarray(model.expectation.source_functions(sky))
    assert [component.name for component in model.spec.populations] == list(own.templates)
    np.testing.assert_allclose(SOURCE_GRID, model.expectation.populations.s_grid, rtol=1e-12)
    np.testing.assert_allclose(own.mean[: len(mean)], mean, rtol=1e-6)
    for number, name in enumerate(own.templates):
        np.testing.assert_allclose(own.templates[name][: len(mean)], templates[number], rtol=1e-6)
        np.testing.assert_allclose(own.dnds[name], dnds[number], rtol=1e-6)


def test_log_likelihood_is_highest_near_the_truth(demo: Dataset, model: SkyModel) -> None:
    truth = demo.manifest.truth
    at_truth = float(model.log_likelihood(model.point(truth)))
    assert np.isfinite(at_truth)
    for name in ("S_pib", "S_ics", "S_iso", "S_bub", "S_gce", "Sps_gce", "Sps_dsk", "gamma_ps"):
        for factor in (0.4, 2.0):
            other = model.point({**truth, name: factor * float(np.asarray(truth[name]))})
            assert float(model.log_likelihood(other)) < at_truth, (name, factor)


def test_counts_agree_with_the_expectation(demo: Dataset, expected: tuple[Observation, Expectation]) -> None:
    """Sums over areas much wider than the PSF; variance of point sources: the mean of S + S^2 per source."""
    pixels, own = expected
    step = np.gradient(SOURCE_GRID)
    mean, variance = own.mean.copy(), own.mean.copy()
    for name, template in own.templates.items():
        first, second = (np.sum(step * SOURCE_GRID**power * own.dnds[name]) for power in (1, 2))
        mean += template * pixels.source_exposure * first
        variance += template * (pixels.source_exposure * first + pixels.source_exposure**2 * second)
    counts = demo.counts.ravel()[pixels.index]
    lat, near = np.abs(pixels.lat_deg), np.arange(pixels.n_pixels) < pixels.n_region
    areas = {
        "fitted": np.arange(pixels.n_pixels) < pixels.n_fit,
        "region": near,
        "plane": lat < 2,
        "north of the region": near & (pixels.lat_deg > 0),
        "far": ~near & (lat > 5),
        "sky": lat >= 0,
    }
    for name, area in areas.items():
        pull = (counts[area].sum() - mean[area].sum()) / np.sqrt(variance[area].sum())
        assert abs(pull) < 4, name
    assert mean[near].mean() == pytest.approx(17.4, rel=0.01)  # the norms add up
    assert counts[near].std() > 1.1 * np.sqrt(mean[near].mean())


def test_counts_follow_the_seed(demo: Dataset) -> None:
    np.testing.assert_array_equal(simulated_counts(demo), demo.counts[0])
    assert (simulated_counts(demo, seed=1) != demo.counts[0]).mean() > 0.3
