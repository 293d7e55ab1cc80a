"""Response files: areas at the nodes of their tables, King functions, and means over inclinations and energies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

from gammasky.engine.sky.instrument import EffectiveArea, KingTables, energy_nodes, response_psf, uniform_inclinations
from gammasky.engine.sky.instrument.king_tables import radii_deg

TYPES = {"FB": ("FRONT", "BACK"), "PSF": ("PSF0", "PSF1", "PSF2", "PSF3")}


@pytest.mark.data
@pytest.mark.parametrize("name", ["SOURCE", "ULTRACLEANVETO"])
@pytest.mark.parametrize("kind", TYPES)
def test_areas_of_the_mission_at_the_nodes_of_their_tables(products_dir: Path, name: str, kind: str) -> None:
    path = products_dir / f"irf/aeff_P8R3_{name}_V3_{kind}.fits"
    for event_type in TYPES[kind]:
        area = EffectiveArea.open(path, event_type)
        with fits.open(path) as hdus:
            row = hdus[f"EFFECTIVE AREA_{event_type}"].data[0]
            low, high = row["ENERG_LO"].astype(float), row["ENERG_HI"].astype(float)
            cosine = (row["CTHETA_LO"].astype(float) + row["CTHETA_HI"]) / 2
            for number, energy in enumerate(np.sqrt(low * high)):
                np.testing.assert_allclose(
                    area.at(energy, cosine), 1e4 * row["EFFAREA"][:, number], rtol=1e-6, atol=1e-9
                )
    assert area.at(1e3, np.array([0.199, 0.0, -1.0])).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.data
def test_event_types_share_the_area(products_dir: Path) -> None:
    """Front and back events are all events, and so are the four quartiles."""
    parts = {
        kind: [EffectiveArea.open(products_dir / f"irf/aeff_P8R3_SOURCE_V3_{kind}.fits", name) for name in names]
        for kind, names in TYPES.items()
    }
    cosine = np.array([1.0, 0.8, 0.5])
    for energy in (1e3, 1e4, 1e5):
        whole = {kind: sum(area.at(energy, cosine) for area in areas) for kind, areas in parts.items()}
        np.testing.assert_allclose(whole["FB"], whole["PSF"], rtol=0.01)
    assert whole["FB"][0] == pytest.approx(9000.0, rel=0.1)  # about 0.9 m^2 on the axis
    for areas in parts.values():  # the correction for the livetime fraction is about 1 where it is 0.9
        assert all(
            sum(np.array(area.livetime_factors(1e4)) * [1, 0.9]) == pytest.approx(1.0, abs=0.02) for area in areas
        )


@pytest.mark.data
def test_king_functions_of_the_mission_by_hand(products_dir: Path) -> None:
    path = products_dir / "irf/psf_P8R3_SOURCE_V3_FB.fits"
    table = KingTables.open(path, "BACK")
    with fits.open(path) as hdus:
        row, scale = hdus["RPSF_BACK"].data[0], hdus["PSF_SCALING_PARAMS_BACK"].data["PSFSCALE"][0]
        energy = float(np.sqrt(row["ENERG_LO"][12].astype(float) * row["ENERG_HI"][12]))
        n_tail, s, t, g, h = (float(row[name][5, 12]) for name in ("NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL"))
    width = np.hypot(scale[0] * (energy / 100) ** scale[2], scale[1])
    assert table.scale_rad(energy) == pytest.approx(width, rel=1e-6)

    def profile(radius: float) -> float:
        x = radius / width
        core, tail = (
            (1 - 1 / slope) * (1 + x**2 / (2 * slope * sigma**2)) ** -slope / (2 * np.pi * sigma**2)
            for sigma, slope in ((s, g), (t, h))
        )
        share = 1 / (1 + n_tail * t**2 / s**2)
        return float(share * core + (1 - share) * tail)

    pieces = ((0, 0.003), (0.003, 0.03), (0.03, 0.3), (0.3, np.pi / 2))
    total = sum(quad(lambda r: 2 * np.pi * np.sin(r) * profile(r), *piece, epsrel=1e-10)[0] for piece in pieces)
    radius = radii_deg()
    found = table.density(energy, np.array([0.75]), radius)[0]
    np.testing.assert_allclose(found, [profile(r) / total for r in np.deg2rad(radius)], rtol=2e-4)


@pytest.mark.data
def test_psf_of_a_bin_lies_between_those_of_its_ends(products_dir: Path) -> None:
    irf = products_dir / "irf"
    areas = [EffectiveArea.open(irf / "aeff_P8R3_SOURCE_V3_FB.fits", name) for name in TYPES["FB"]]
    tables = [KingTables.open(irf / "psf_P8R3_SOURCE_V3_FB.fits", name) for name in TYPES["FB"]]
    edges = np.array([1.0, 3.0, 10.0])
    table = response_psf(tables, areas, uniform_inclinations(), edges)
    narrow, wide = table.in_bins(edges)[::-1]
    single = [
        response_psf(tables, areas, uniform_inclinations(), [low, low * 1.001]).in_bins([low, low * 1.001])[0]
        for low in edges
    ]
    widths = [float(np.rad2deg(psf.radius(np.array(0.68)))) for psf in (single[0], wide, single[1], narrow, single[2])]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(0.82, abs=0.03)  # 68 % of front and back events at 1 GeV: 0.8 deg
    soft = table.in_bins(edges, index=4.0)[0]
    assert soft.radius(np.array(0.68)) > wide.radius(np.array(0.68))


def test_energies_of_bins_are_dense_and_hold_the_edges() -> None:
    nodes = energy_nodes(np.array([1.0, 1.5, 100.0]))
    assert {1.0, 1.5, 100.0} <= set(nodes.tolist())
    assert np.all(np.diff(np.log10(nodes)) > 0)
    assert np.diff(np.log10(nodes)).max() <= 1 / 25 + 1e-12
    assert len(energy_nodes(np.array([1.0, 1.0001]))) == 2
