"""The table of photons of dark-matter annihilation: integrals against quadrature, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from gammasky.engine.errors import InputError
from gammasky.engine.sky.products.annihilation import AnnihilationYields

MASSES = (10.0, 40.0, 100.0, 1000.0)


def spectrum(x: float) -> float:
    """dN/dx of about the right shape: 0.73 x^-1.5 exp(-7.8 x), Bergstrom et al. 1998 (astro-ph/9712318)."""
    return 0.73 * x**-1.5 * np.exp(-7.8 * x)


def write_table(path: Path, factor: Callable[[float], float] = lambda _mass: 1.0) -> Path:
    """A file in the format of AtProduction_gammas.dat, with b quarks and tau leptons (half as many photons)."""
    lines = ["mDM  Log[10,x]  b  \\[Tau]"]
    for mass in MASSES:
        for log10_x in np.linspace(-5.0, 0.0, 201):
            per_decade = factor(mass) * spectrum(10**log10_x) * 10**log10_x * np.log(10)
            lines.append(f"{mass:g} {log10_x:.6f} {per_decade:.10e} {0.5 * per_decade:.10e}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_photons_in_a_band(tmp_path: Path) -> None:
    table = AnnihilationYields.open(write_table(tmp_path / "table.dat"))
    assert list(table.spectra) == ["b", "tau"]
    masses = [10.0, 23.0, 40.0, 900.0]
    found = table.photons("b", masses, 2.0, 20.0)
    exact = [quad(spectrum, 2.0 / mass, min(20.0 / mass, 1.0))[0] for mass in masses]
    np.testing.assert_allclose(found, exact, rtol=2e-3)  # the table is linear between its rows
    np.testing.assert_allclose(table.photons("tau", masses, 2.0, 20.0), 0.5 * found, rtol=1e-9)
    halves = [table.photons("b", masses, low, high) for low, high in ((2.0, 7.0), (7.0, 20.0))]
    np.testing.assert_allclose(sum(halves), found, rtol=1e-12)
    assert table.photons("b", [10.0], 10.0, 30.0) == pytest.approx([0.0], abs=1e-12)


def test_linear_in_log_mass_between_masses(tmp_path: Path) -> None:
    table = AnnihilationYields.open(write_table(tmp_path / "table.dat", np.log))
    low, high = (table.photons("b", [mass], 1e-2 * mass, mass)[0] for mass in (40.0, 100.0))
    middle = np.sqrt(40.0 * 100.0)
    assert table.photons("b", [middle], 1e-2 * middle, middle)[0] == pytest.approx(0.5 * (low + high), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected the columns mDM, Log"),
        ("mass x b\n1 0 1\n", "expected the columns mDM, Log"),
        ("mDM Log[10,x] b\n10 -1 0.5\n10 0 x\n", "expected 3 numbers to a row"),
        ("mDM Log[10,x] b\n10 -1 0.5\n10 0\n", "expected 3 numbers to a row"),
        ("mDM Log[10,x] b\n10 -1 0.5\n10 0 0\n", "at least two masses"),
        ("mDM Log[10,x] b\n10 -1 1\n10 0 0\n20 -2 1\n20 0 0\n", "the same values of log10 x"),
        ("mDM Log[10,x] b\n10 -1 1\n10 0 -1\n20 -1 1\n20 0 0\n", "yields that are not negative"),
    ],
)
def test_what_is_no_table(text: str, told: str) -> None:
    with pytest.raises(InputError, match=r"yields\.dat: ") as error:
        AnnihilationYields.read(text.encode(), "yields.dat")
    assert told in str(error.value)


def test_what_it_does_not_hold(tmp_path: Path) -> None:
    table = AnnihilationYields.open(write_table(tmp_path / "table.dat"))
    with pytest.raises(InputError, match=r"channel 'ta'.*'tau'"):
        table.photons("ta", [20.0], 2.0, 20.0)
    with pytest.raises(InputError, match="mass 5 GeV is outside of 10 to 1000 GeV"):
        table.photons("b", [5.0], 2.0, 20.0)
    with pytest.raises(InputError, match=r"begin at 0\.01 GeV, above 0\.001 GeV"):
        table.photons("b", [1000.0], 1e-3, 20.0)
