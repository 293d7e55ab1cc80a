"""Livetime and exposure: sums, orbits that can be worked out on paper, the zenith, azimuth and livetime fraction."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest

from gammasky.engine.sky.instrument import EffectiveArea, Livetime, Spacecraft, exposure_cube, inclination_profile
from gammasky.engine.sky.instrument.livetime import measure_livetime
from gammasky.engine.sky.photons import Intervals
from gammasky.engine.sky.pixels.frames import rotated
from gammasky.engine.sky.products import ExposureCube
from tests.engine.sky.instrument.orbits import rows, smooth_area, write_spacecraft

NSIDE = 16
POLE, EAST = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
ALL = Intervals.of(np.array([0.0]), np.array([1e9]), "all")


def directions(nside: int = NSIDE) -> np.ndarray:
    """Equatorial unit vectors (npix, 3) of the centres of Galactic pixels."""
    vectors = np.stack(healpy.pix2vec(nside, np.arange(12 * nside**2)), axis=1)
    return rotated(vectors, "galactic", "equatorial")


def seen(folder: Path, columns: dict[str, np.ndarray], **settings: object) -> Livetime:
    craft = Spacecraft.open(write_spacecraft(folder / "ft2.fits", columns))
    times = Intervals.of(columns["START"][:1], columns["STOP"][-1:], "all")
    return measure_livetime(craft, times, nside=NSIDE, cache_dir=folder / "cache", **settings)  # type: ignore[arg-type]


def test_total_livetime_is_that_within_the_good_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = rows(200, POLE, EAST, POLE, live=rng.uniform(0.0, 30.0, 200))
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", columns))
    good = Intervals.of(np.array([1010.0, 1500.0, 3000.0]), np.array([1100.5, 1501.0, 7000.0]), "it")
    found = measure_livetime(craft, good, nside=2, cache_dir=tmp_path / "cache")
    expected = 0.0
    for start, stop, live in zip(columns["START"], columns["STOP"], columns["LIVETIME"], strict=True):
        for low, high in zip(good.start, good.stop, strict=True):
            expected += live * max(0.0, min(stop, high) - max(start, low)) / (stop - start)
    assert found.total_s == pytest.approx(expected, rel=1e-12)
    # a direction along the axis sees all of it
    assert found.seconds[np.argmax(directions(2) @ POLE)].sum() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("nside", [1, 8, 16])
def test_constant_pointing_has_the_exposure_of_its_inclinations(tmp_path: Path, nside: int) -> None:
    axis = np.array([0.48, -0.6, 0.64])
    columns = rows(50, axis, np.cross(axis, POLE) / np.linalg.norm(np.cross(axis, POLE)), axis)
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", columns))
    times = Intervals.of(columns["START"][:1], columns["STOP"][-1:], "all")
    found = measure_livetime(craft, times, nside=nside, cache_dir=tmp_path / "cache")
    cube = exposure_cube(found, [EffectiveArea.open(smooth_area(tmp_path / "area.fits"), "FRONT")], [1.0, 30.0])
    cosine = directions(nside) @ axis
    inside = (cosine > 0.2125) & (cosine < 0.9875)  # between the outermost centres of the table
    expected = 1e4 * 50 * 27.0 * (cosine - 0.2) / 0.8
    assert inside.any()
    for layer in cube.exposure:
        np.testing.assert_allclose(layer[inside], expected[inside], rtol=1e-6)
        assert (layer[cosine < 0.2] == 0).all()


def test_uniform_scan_has_the_exposure_of_the_integral(tmp_path: Path) -> None:
    """The axis goes round a cone of 40 deg about the pole: cos(theta) = a + b cos(phase), exposure by quadrature."""
    n, tilt = 720, np.deg2rad(40.0)
    phase = 2 * np.pi * (np.arange(n) - 0.5) / n  # so that the middle of row k is at phase 2 pi k / n
    cone = np.stack([np.sin(tilt) * np.cos(phase), np.sin(tilt) * np.sin(phase), np.full(n, np.cos(tilt))], axis=1)
    found = seen(tmp_path, rows(n, cone, POLE, POLE))
    cube = exposure_cube(found, [EffectiveArea.open(smooth_area(tmp_path / "area.fits"), "FRONT")], [1.0])
    vectors = directions()
    fine = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000
    declination = np.arcsin(np.clip(vectors[:, 2], -1, 1))
    chosen = np.flatnonzero(np.rad2deg(declination) > -40)[::37]
    cosine = np.cos(tilt) * np.sin(declination[chosen, None]) + np.sin(tilt) * np.cos(
        declination[chosen, None]
    ) * np.cos(fine)
    table = 0.2 + 0.8 * np.clip((cosine - 0.2) / 0.8, 0.0125 / 0.8, 0.7875 / 0.8)  # constant beyond the centres
    expected = 1e4 * n * 27.0 * np.where(cosine >= 0.2, (table - 0.2) / 0.8, 0.0).mean(axis=1)
    largest = expected.max()
    assert np.abs(cube.exposure[0][chosen] - expected).max() < 1e-3 * largest
    bright = expected > 0.1 * largest
    np.testing.assert_allclose(cube.exposure[0][chosen][bright], expected[bright], rtol=1e-3)


def survey(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axes of a rocking survey: z 50 deg off the zenith, alternately to either side of an orbit that precesses."""
    del seed
    time = 30.0 * np.arange(n)
    orbit, node, slope = 2 * np.pi * time / 5700, 2 * np.pi * np.arange(n) / n, np.deg2rad(25.6)
    zenith = np.stack([
        np.cos(orbit) * np.cos(node) - np.sin(orbit) * np.cos(slope) * np.sin(node),
        np.cos(orbit) * np.sin(node) + np.sin(orbit) * np.cos(slope) * np.cos(node),
        np.sin(orbit) * np.sin(slope),
    ], axis=1)  # fmt: skip
    pole = np.stack([np.sin(slope) * np.sin(node), -np.sin(slope) * np.cos(node), np.full(n, np.cos(slope))], axis=1)
    rock = np.deg2rad(50.0) * np.where((time // 5700) % 2 == 0, 1, -1)[:, None]
    z = np.cos(rock) * zenith + np.sin(rock) * pole
    return z, np.cross(zenith, pole), zenith


def test_mean_over_the_sky_is_livetime_times_the_mean_area(tmp_path: Path) -> None:
    """Without a cut on the zenith every direction of the instrument sees 1/(4 pi) of the sky per steradian."""
    n = 4000
    z, x, zenith = survey(n)
    found = seen(tmp_path, rows(n, z, x, zenith))
    area = EffectiveArea.open(smooth_area(tmp_path / "area.fits"), "FRONT")
    mean = exposure_cube(found, [area], [10.0]).exposure[0].mean()
    cosine = (np.arange(20_000) + 0.5) / 20_000
    expected = found.total_s * area.at(1e4, cosine).mean() / 2  # half of the sphere is in view
    assert mean == pytest.approx(expected, rel=1e-3)
    seconds, weighted, _ = inclination_profile(found)
    np.testing.assert_allclose(weighted, 0.9 * seconds)
    assert seconds.sum() == pytest.approx(found.total_s * 0.4, rel=1e-3)  # cos(theta) > 0.2 is 0.4 of the sphere


@pytest.mark.data
def test_mean_over_the_sky_with_the_areas_of_the_mission(tmp_path: Path, products_dir: Path) -> None:
    z, x, zenith = survey(4000)
    found = seen(tmp_path, rows(4000, z, x, zenith))
    path = products_dir / "irf/aeff_P8R3_SOURCE_V3_FB.fits"
    areas = [EffectiveArea.open(path, name) for name in ("FRONT", "BACK")]
    cosine = (np.arange(20_000) + 0.5) / 20_000
    means = exposure_cube(found, areas, [0.1, 1.0, 30.0, 1000.0]).exposure.mean(axis=1)
    for energy, mean in zip((1e2, 1e3, 3e4, 1e6), means, strict=True):
        factors = [np.array(area.livetime_factors(energy)) @ [1.0, 0.9] for area in areas]
        area = sum(factor * part.at(energy, cosine).mean() for factor, part in zip(factors, areas, strict=True))
        assert mean == pytest.approx(found.total_s * area / 2, rel=2e-3)


@pytest.mark.data
def test_exposure_of_the_mission_is_its_livetime_times_the_mean_area(products_dir: Path) -> None:
    """2FHL: 153.7 Ms of livetime. The cut on the zenith (105 deg) takes 3 %, at all energies alike; P8R2, not P8R3."""
    cube = ExposureCube.open(products_dir / "2fhl/fermi_2fhl_exposure_cube_hpx.fits.gz")
    path = products_dir / "irf/aeff_P8R3_SOURCE_V3_FB.fits"
    areas = [EffectiveArea.open(path, name) for name in ("FRONT", "BACK")]
    live, on = 153_713_594.8, 169_232_791.8
    cosine = (np.arange(20_000) + 0.5) / 20_000
    ratios = []
    for energy, layer in zip(1e3 * cube.energies_gev, cube.exposure, strict=True):
        factors = [np.array(area.livetime_factors(energy)) @ [1.0, live / on] for area in areas]
        area = sum(factor * part.at(energy, cosine).mean() for factor, part in zip(factors, areas, strict=True))
        ratios.append(layer.mean() / (live * area / 2))
    assert np.mean(ratios) == pytest.approx(0.97, abs=0.005)
    assert np.ptp(ratios) < 0.008


def test_zenith_cut_hides_directions_near_the_earth(tmp_path: Path) -> None:
    axis, zenith = np.array([0.6, 0.0, 0.8]), POLE
    found = seen(tmp_path, rows(3, axis, EAST, zenith), zenith_max_deg=60.0)
    vectors = directions()
    visible = (vectors @ axis >= 0.2) & (vectors @ zenith >= np.cos(np.deg2rad(60.0)))
    np.testing.assert_array_equal(found.seconds.sum(axis=(1, 2)), np.where(visible, 3 * 27.0, 0.0))
    assert 0 < visible.sum() < (vectors @ axis >= 0.2).sum()


def test_livetime_fraction_and_azimuth_change_the_area_as_their_formulae_say(tmp_path: Path) -> None:
    axis, second = POLE, EAST
    lines = np.array([[-2.0, 6.0, -0.5, 2.5, -0.1, 3.5], [2.0, -5.0, 0.4, 2.5, 0.05, 3.5]])
    area = EffectiveArea.open(smooth_area(tmp_path / "area.fits", efficiency=lines, phi=(0.2, 3.0)), "FRONT")
    slope = 6 - 5 - 0.5 * 1.0 - 0.1 * 0.5  # at 10^4 MeV: the three lines, end to end
    offset = -5 + 5 + 0.4 * 1.0 + 0.05 * 0.5
    assert area.livetime_factors(1e4) == pytest.approx((offset, slope), rel=1e-6)
    assert area.livetime_factors(1e2) == pytest.approx((-1.0, 2.0), rel=1e-6)
    found = seen(tmp_path, rows(4, axis, second, axis, live=15.0), azimuth_bins=100)
    cube = exposure_cube(found, [area], [10.0])
    vectors = directions()
    cosine = vectors @ axis
    xi = np.abs(4 / np.pi * (np.arctan2(vectors[:, 1], vectors[:, 0]) % (np.pi / 2)) - 1)
    factor = (1 + 0.2 * xi**3) / (1 + 0.2 / 4)
    expected = 1e4 * 60.0 * (cosine - 0.2) / 0.8 * (offset + 0.5 * slope) * factor
    inside = (cosine > 0.2125) & (cosine < 0.9875)
    np.testing.assert_allclose(cube.exposure[0][inside], expected[inside], rtol=5e-3)
    plain = exposure_cube(seen(tmp_path, rows(4, axis, second, axis, live=15.0)), [area], [10.0])
    np.testing.assert_allclose(plain.exposure[0][inside], (expected / factor)[inside], rtol=1e-6)
    assert factor.max() - factor.min() > 0.15


def test_azimuth_averages_out() -> None:
    area = EffectiveArea("it", *_grid(), phi_grid=_grid()[0], phi_parameters=np.full((2, 4, 3), [[[0.3]], [[2.0]]]))
    edges = 1 - 4 / np.pi * np.arctan(np.linspace(1.0, 0.0, 8))
    factors = area.azimuth_factors(1e3, np.array([0.3, 0.9]), edges)
    np.testing.assert_allclose(factors @ np.diff(edges), 1.0, rtol=1e-12)


def _grid() -> tuple[object, np.ndarray]:
    from gammasky.engine.sky.instrument.response_files import Grid

    return Grid(np.geomspace(1e2, 1e5, 4), np.linspace(0.2, 1.0, 5)), np.ones((4, 3))


def test_rows_are_taken_in_their_middle(tmp_path: Path) -> None:
    turned = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    columns = rows(3, turned, POLE, POLE)
    columns["START"][2], columns["STOP"][2] = 5000.0, 5030.0  # the second row is not followed by the third
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", columns))
    np.testing.assert_allclose(
        craft.middle("z", np.arange(3)), [[0.5**0.5, 0.5**0.5, 0], [0, 1, 0], [0, 1, 0]], atol=1e-12
    )


def test_rows_may_come_in_chunks_and_a_part_of_the_sky_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z, x, zenith = survey(300)
    columns = rows(300, z, x, zenith)
    columns["LIVETIME"][40:50] = 0.0
    whole = seen(tmp_path, columns, azimuth_bins=3, zenith_max_deg=100.0)
    monkeypatch.setattr("gammasky.engine.sky.instrument.livetime.CHUNK", 70)
    wanted = directions() @ POLE > 0.9
    steps: list[tuple[int, int]] = []
    part = seen(
        tmp_path, columns, azimuth_bins=3, zenith_max_deg=100.0, wanted=wanted,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    for name in ("seconds", "weighted", "cos_theta"):
        np.testing.assert_allclose(getattr(part, name)[wanted], getattr(whole, name)[wanted], rtol=1e-12, atol=1e-12)
    assert (part.seconds.sum(axis=(1, 2)) == 0).sum() > 1000
    assert steps[-1][0] == steps[-1][1] == len(steps)
    assert len(steps) % 5 == 0  # five chunks of 290 rows


def test_results_are_kept_and_their_content_is_the_key(tmp_path: Path) -> None:
    columns = rows(5, POLE, EAST, POLE)
    steps: list[tuple[int, int]] = []
    first = seen(tmp_path, columns, progress=lambda *step: steps.append(step))
    assert steps[-1] == (48, 48)
    again = seen(tmp_path, columns, progress=lambda *_: pytest.fail("was not kept"))
    np.testing.assert_array_equal(again.seconds, first.seconds)
    other = seen(tmp_path, rows(5, EAST, POLE, POLE))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert not np.array_equal(other.seconds, first.seconds)
    galactic = seen(tmp_path, columns, frame="equatorial")
    assert not np.array_equal(galactic.seconds, first.seconds)


def test_any_number_of_threads_adds_up_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z, x, zenith = survey(300)
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", rows(300, z, x, zenith)))
    times = Intervals.of(np.array([1000.0]), np.array([10_000.0]), "it")
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
        found = measure_livetime(
            craft, times, nside=16, azimuth_bins=3, zenith_max_deg=100.0, cache_dir=tmp_path / threads
        )
        results.append(found)
    for name in ("seconds", "weighted", "cos_theta"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))
