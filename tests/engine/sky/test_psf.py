"""PSFs: normalisation, radii, and King parameters from the instrument response."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

from gammasky.engine.errors import InputError
from gammasky.engine.sky import DeltaPSF, GaussianPSF, KingPSF
from gammasky.engine.sky.irf import king_psf
from gammasky.engine.sky.psf import IRFSettings

PAPER = {
    "fcore": 0.748988248179,
    "score": 0.428653790656,
    "gcore": 7.82363229341,
    "stail": 0.715962650769,
    "gtail": 3.61883748683,
    "spe": 0.00456544262478,
}
IRF = "psf/psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"


def from_file(path: Path, **settings: object) -> KingPSF:
    return king_psf(path.read_bytes(), str(path), IRFSettings.model_validate({"file": path.name, **settings}))


def king_cumulative(r: float) -> float:
    """Closed form on the plane: 1 - (1 + x^2 / (2 g s^2))^(1 - g) for each of the two functions."""
    x = r / PAPER["spe"]
    core = 1 - (1 + x**2 / (2 * PAPER["gcore"] * PAPER["score"] ** 2)) ** (1 - PAPER["gcore"])
    tail = 1 - (1 + x**2 / (2 * PAPER["gtail"] * PAPER["stail"] ** 2)) ** (1 - PAPER["gtail"])
    return PAPER["fcore"] * core + (1 - PAPER["fcore"]) * tail


@pytest.mark.parametrize("psf", [KingPSF(**PAPER), GaussianPSF(sigma_deg=0.2), GaussianPSF(sigma_deg=20.0)])
def test_density_integrates_to_one_on_the_sphere(psf: KingPSF | GaussianPSF) -> None:
    def ring(r: float) -> float:
        return float(2 * np.pi * np.sin(r) * psf.density(np.array(r)))

    total = sum(
        quad(ring, a, b, epsabs=0, epsrel=1e-11, limit=200)[0] for a, b in ((0, 0.01), (0.01, 0.3), (0.3, 3.14159265))
    )
    assert total == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.68, 0.95, 0.999])
def test_king_radius_inverts_the_closed_form(fraction: float) -> None:
    radius = float(KingPSF(**PAPER).radius(np.array(fraction)))
    assert king_cumulative(radius) == pytest.approx(fraction, abs=5e-7 + 2e-4 * (1 - fraction))


def test_radius_inverts_the_density() -> None:
    psf = GaussianPSF(sigma_deg=5.0)
    radius = float(psf.radius(np.array(0.68)))
    within, _ = quad(lambda r: float(2 * np.pi * np.sin(r) * psf.density(np.array(r))), 0, radius)
    assert within == pytest.approx(0.68, abs=1e-8)


def test_delta_keeps_every_photon_at_its_source() -> None:
    assert DeltaPSF().radius(np.array([0.1, 0.9])).tolist() == [0.0, 0.0]


def test_scale_from_the_response_file_is_that_of_the_paper(fermi_dir: Path) -> None:
    assert from_file(fermi_dir / IRF, energy_gev=2.0).spe == pytest.approx(PAPER["spe"], rel=1e-11)


def test_shapes_from_the_later_response_differ_by_at_most_one_percent(fermi_dir: Path) -> None:
    psf = from_file(fermi_dir / IRF, energy_gev=2.0)
    for name, tolerance in {"fcore": 5e-3, "score": 5e-4, "gcore": 1.1e-2, "stail": 3e-3, "gtail": 1e-3}.items():
        assert getattr(psf, name) == pytest.approx(PAPER[name], rel=tolerance)
    paper, file = KingPSF(**PAPER).radius(np.array([0.68, 0.95])), psf.radius(np.array([0.68, 0.95]))
    np.testing.assert_allclose(file, paper, rtol=3e-3)


def test_one_inclination_is_one_row_of_the_file(fermi_dir: Path) -> None:
    psf = from_file(fermi_dir / IRF, energy_gev=1.3891397, cos_theta=0.95)  # the centre of an energy bin
    assert psf.score == pytest.approx(0.40520698, rel=1e-6)
    assert from_file(fermi_dir / IRF, energy_gev=1.3891397, weights=(0,) * 7 + (3,)) == psf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"event_type": "PSF9", "energy_gev": 2.0}, "unknown event type .* did you mean 'PSF"),
        ({"energy_gev": 1e6}, "energy 1e.06 GeV is outside"),
        ({"energy_gev": 2.0, "cos_theta": 0.1}, "cos_theta = 0.1 is outside"),
        ({"energy_gev": 2.0, "weights": (1.0, 2.0)}, "weights must be 8"),
    ],
)
def test_bad_request_of_the_response_file(fermi_dir: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_file(fermi_dir / IRF, **settings)


def test_truncated_response_file(fermi_dir: Path, tmp_path: Path) -> None:
    short = tmp_path / "psf.fits"
    short.write_bytes((fermi_dir / IRF).read_bytes()[:20000])
    with pytest.raises(InputError, match=r"psf\.fits: .*(not a complete FITS file|unknown event type)"):
        from_file(short, energy_gev=2.0)


def response_file(path: Path, factor: float = 1.0, *, without: str = "", **units: str) -> Path:
    """A response of two energies, 1 and 3 GeV, and two inclinations; its energies in MeV times `factor`."""

    def column(name: str, values: list[float]) -> fits.Column:
        return fits.Column(name, f"{len(values)}E", unit=units.get(name, ""), array=[values])

    king = {"NTAIL": 0.5, "SCORE": 0.4, "STAIL": 0.8, "GCORE": 3.0, "GTAIL": 2.0}
    edges = {"ENERG_LO": [500.0 * factor, 2000.0 * factor], "ENERG_HI": [1500.0 * factor, 4000.0 * factor]}
    columns = {
        **edges,
        "CTHETA_LO": [0.2, 0.6],
        "CTHETA_HI": [0.6, 1.0],
        **{name: [value] * 4 for name, value in king.items()},
    }
    made = [
        fits.Column(c.name, c.format, unit=c.unit, dim="(2,2)" if c.name in king else None, array=c.array)
        for c in (column(name, values) for name, values in columns.items() if name != without)
    ]
    psf = fits.BinTableHDU.from_columns(made, name="RPSF_PSF3")
    scale = fits.BinTableHDU.from_columns([column("PSFSCALE", [0.05, 0.002, -0.8])], name="PSF_SCALING_PARAMS_PSF3")
    fits.HDUList([fits.PrimaryHDU(), psf, scale]).writeto(path)
    return path


@pytest.mark.parametrize(("unit", "factor"), [("", 1.0), ("MeV", 1.0), ("GeV", 1e-3), ("keV", 1e3)])
def test_energies_of_the_response_are_in_the_unit_that_it_says(unit: str, factor: float, tmp_path: Path) -> None:
    path = response_file(tmp_path / "psf.fits", factor, ENERG_LO=unit, ENERG_HI=unit)
    psf = from_file(path, energy_gev=2.0, cos_theta=0.5)
    assert psf.spe == pytest.approx(np.hypot(0.05 * 20.0**-0.8, 0.002), rel=1e-6)
    assert psf.score == pytest.approx(0.4, rel=1e-6)
    with pytest.raises(InputError, match="energy 4 GeV is outside 1000 to 3000 MeV"):
        from_file(path, energy_gev=4.0, cos_theta=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ENERG_LO": "deg"}, "column ENERG_LO of RPSF_PSF3 has the unit 'deg'; expected 'MeV'"),
        ({"ENERG_HI": "furlong"}, "column ENERG_HI of RPSF_PSF3 has the unit 'furlong'; expected 'MeV'"),
        ({"CTHETA_LO": "deg"}, "column CTHETA_LO .* 'deg'; expected none: it is a plain number"),
        ({"SCORE": "rad"}, "column SCORE .* 'rad'; expected none"),
        ({"PSFSCALE": "deg"}, "column PSFSCALE of PSF_SCALING_PARAMS_PSF3 has the unit 'deg'"),
        ({"without": "NTAIL"}, "RPSF_PSF3 has no column NTAIL; it has ENERG_LO, "),
    ],
)
def test_columns_that_contradict_what_they_are(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    path = response_file(tmp_path / "psf.fits", **changes)
    with pytest.raises(InputError, match=message):
        from_file(path, energy_gev=2.0, cos_theta=0.5)
