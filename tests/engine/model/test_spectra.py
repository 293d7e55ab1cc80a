"""Spectra against arbitrary-precision integrals, gradients against differences, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from gammasky.engine.errors import InputError
from gammasky.engine.model.spectra import SPECTRA, AnySpectrum, Spectrum

EDGES = np.array([1.0, 2.5, 10.0, 30.0, 200.0])


def spectrum(table: dict[str, Any]) -> Spectrum:
    return TypeAdapter(AnySpectrum).validate_python(table)


def log_parabola(index: float, curvature: float) -> Callable[[Any], Any]:
    return lambda e: (e / 3) ** -(index + curvature * mpmath.log(e / 3))


def cutoff(index: float, energy: float, exponent: float) -> Callable[[Any], Any]:
    return lambda e: e**-index * mpmath.exp(-((e / energy) ** exponent))


def broken(below: float, above: float, at: float) -> Callable[[Any], Any]:
    return lambda e: (e / at) ** -(below if e < at else above)


def exact(law: Callable[[Any], Any], cuts: tuple[float, ...] = ()) -> np.ndarray:
    """Shares of the bins to 25 digits."""
    with mpmath.workdps(25):
        photons = []
        for low, high in pairwise(EDGES.tolist()):
            grid = np.geomspace(low, high, 25).tolist()
            photons.append(mpmath.quad(law, sorted({*grid, *(c for c in cuts if low < c < high)})))
        return np.array([float(p / sum(photons)) for p in photons])


CASES = {
    "steep": ({"power_law": {"index": 2.4, "pivot_gev": 2.0}}, lambda e: e**-2.4, ()),
    "index 1": ({"power_law": {"index": 1.0}}, lambda e: 1 / e, ()),
    "close to 1": ({"power_law": {"index": 1.0 + 1e-9}}, lambda e: e ** -mpmath.mpf(1.0 + 1e-9), ()),
    "very steep": ({"power_law": {"index": 20.0}}, lambda e: e**-20, ()),
    "rising": ({"power_law": {"index": -3.0}}, lambda e: e**3, ()),
    "parabola": ({"log_parabola": {"index": 1.8, "curvature": 0.6, "pivot_gev": 3.0}}, log_parabola(1.8, 0.6), ()),
    "pulsar": ({"cutoff_power_law": {"index": 1.3, "cutoff_gev": 3.0}}, cutoff(1.3, 3.0, 1.0), ()),
    "far cut-off": ({"cutoff_power_law": {"index": 0.5, "cutoff_gev": 0.6}}, cutoff(0.5, 0.6, 1.0), ()),
    "sharp": ({"cutoff_power_law": {"index": 2.0, "cutoff_gev": 20.0, "exponent": 2.0}}, cutoff(2.0, 20.0, 2.0), ()),
    "broken": ({"broken_power_law": {"index_below": 1.0, "index_above": 3.1, "break_gev": 5.0}},
               broken(1.0, 3.1, 5.0), (5.0,)),
    "broken on an edge": ({"broken_power_law": {"index_below": 0.2, "index_above": 2.0, "break_gev": 10.0}},
                          broken(0.2, 2.0, 10.0), ()),
    "broken outside": ({"broken_power_law": {"index_below": 0.2, "index_above": 2.0, "break_gev": 0.5}},
                       lambda e: e**-2.0, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_shares_are_integrals_over_the_bins(name: str) -> None:
    table, law, cuts = CASES[name]
    found = np.asarray(spectrum(table).shares({}, EDGES))
    np.testing.assert_allclose(found, exact(law, cuts), rtol=1e-10, atol=1e-300)
    assert found.sum() == pytest.approx(1.0, abs=1e-15)


FREE = [
    ({"power_law": {"index": "a"}}, {"a": 1.0}),
    ({"power_law": {"index": "a"}}, {"a": 2.2}),
    ({"log_parabola": {"index": "a", "curvature": "b"}}, {"a": 2.0, "b": 0.2}),
    ({"cutoff_power_law": {"index": "a", "cutoff_gev": "b", "exponent": "c"}}, {"a": 1.4, "b": 3.0, "c": 0.7}),
    ({"broken_power_law": {"index_below": "a", "index_above": "b", "break_gev": "c"}}, {"a": 1.4, "b": 3.0, "c": 4.0}),
    ({"free": {"shares": "a"}}, {"a": [0.4, 0.3, 0.2, 0.1]}),
]


@pytest.mark.parametrize(("table", "point"), FREE)
def test_gradients_are_those_of_differences(table: dict[str, Any], point: dict[str, Any]) -> None:
    law = spectrum(table)
    theta = {name: jnp.asarray(value) for name, value in point.items()}
    assert {use.parameter for use in law.uses("x")} == set(theta)
    jacobian = jax.jacrev(lambda t: law.shares(t, EDGES))(theta)
    for name, value in theta.items():
        for element in np.ndindex(value.shape):
            step = 1e-5 * max(abs(float(value[element])), 1.0)
            up, down = (law.shares({**theta, name: value.at[element].add(s)}, EDGES) for s in (step, -step))
            np.testing.assert_allclose(jacobian[name][(..., *element)], (up - down) / (2 * step), rtol=2e-7, atol=1e-10)


def test_no_cutoff_is_too_far_below_the_bins() -> None:
    """All photons are then in the first bin, and nothing is NaN."""
    law = spectrum({"cutoff_power_law": {"index": 2.0, "cutoff_gev": "c"}})
    shares, slope = (f({"c": jnp.asarray(2e-3)}) for f in (lambda t: law.shares(t, EDGES), jax.jacrev(
        lambda t: law.shares(t, EDGES))))  # fmt: skip
    np.testing.assert_array_equal(shares, [1.0, 0.0, 0.0, 0.0])
    assert np.isfinite(slope["c"]).all()


def test_a_table_is_a_power_law_between_its_energies(tmp_path: Path) -> None:
    energies = np.geomspace(0.5, 500.0, 7)
    inline = spectrum({"table": {"energies_gev": energies.tolist(), "values": (3 * energies**-1.7).tolist()}})
    expected = spectrum({"power_law": {"index": 1.7}}).shares({}, EDGES)
    np.testing.assert_allclose(inline.shares({}, EDGES), expected, rtol=1e-12)
    for unit, scale in (("MeV", 1e3), ("GeV", 1.0)):
        path = tmp_path / f"{unit}.txt"
        np.savetxt(path, np.column_stack([scale * energies, energies**-1.7, energies]), header="yield")
        read = spectrum({"table": {"file": str(path), "energy_unit": unit}})
        np.testing.assert_allclose(read.shares({}, EDGES), expected, rtol=1e-12)
        assert spectrum(read.model_dump()) == read  # the numbers are part of it now, not the file
    with pytest.raises(
        InputError, match=r"component 'a', table: its energies, 0.5 to 500 GeV, do not cover the bin 300"
    ):
        inline.require_bins("component 'a'", np.array([100.0, 300.0, 600.0]))
    dark = spectrum({"table": {"energies_gev": [0.1, 1e3], "values": [0.0, 0.0]}})
    with pytest.raises(InputError, match="component 'a', table: its values are zero in all energy bins; correct them"):
        dark.require_bins("component 'a'", EDGES)


def test_free_shares() -> None:
    fixed = spectrum({"free": {"shares": [1.0, 2.0, 0.0, 1.0]}})
    np.testing.assert_allclose(fixed.shares({}, EDGES), [0.25, 0.5, 0.0, 0.25])
    with pytest.raises(InputError, match="component 'a', free: expected 2 shares, one for each energy bin, got 4"):
        fixed.require_bins("component 'a'", EDGES[:3])
    two = spectrum({"free": {"shares": "p"}}).shares({"p": jnp.asarray(0.3)}, EDGES[:3])
    np.testing.assert_allclose(two, [0.3, 0.7])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"powerlaw": {"index": 2.0}}, "unknown spectrum 'powerlaw'; did you mean 'power_law'"),
        ({}, "a spectrum is a table with one of power_law, log_parabola"),
        ({"cutoff_power_law": {"index": 2.0, "cutoff_gev": 0.0}}, "cutoff_gev must be at least 0.001, got 0"),
        (
            {"broken_power_law": {"index_below": 2.0, "index_above": 3.0, "break_gev": -1.0}},
            "break_gev must be at leas",
        ),
        ({"table": {"energies_gev": [1.0, 2.0], "values": [1.0]}}, "2 energies need as many values, got 1"),
        ({"table": {"energies_gev": [2.0, 1.0], "values": [1.0, 1.0]}}, "energies_gev must rise"),
        ({"table": {"file": "nowhere.txt"}}, "nowhere.txt"),
        ({"free": {"shares": [0.0, 0.0]}}, "shares are zero in all energy bins"),
    ],
)
def test_what_is_refused(table: dict[str, Any], told: str) -> None:
    with pytest.raises((ValidationError, InputError)) as error:
        spectrum(table)
    assert told in str(error.value)


def test_every_spectrum_is_tested() -> None:
    assert {next(iter(table)) for table, _, _ in CASES.values()} | {"table", "free"} == set(SPECTRA.kinds)
