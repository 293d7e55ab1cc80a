"""What a photon-level simulator refuses, in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.sky.psf import GaussianPSF
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation
from tests.engine.sky.observations import KING, whole

GOOD = SourcePopulation("gce", np.full(12, 1.0), np.array([1.0, 2.0, 4.0]), np.ones(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n: expected a whole number, 1 to .*; got 0"),
        ({"n": True}, "n: expected a whole number.*; got True"),
        ({"n": 2.0}, r"n: expected a whole number.*; got 2\.0"),
        ({"seed": -1}, r"seed: expected a whole number, 0 to 2\^63 - 1; got -1"),
        ({"seed": 2**63}, "seed: expected a whole number.*; got 9223372036854775808"),
        ({"seed": 1.5}, r"seed: expected a whole number.*; got 1\.5"),
        ({"seed": "7"}, "seed: expected a whole number.*; got '7'"),
        ({"seed": True}, "seed: expected a whole number.*; got True"),
        ({"first": -3}, "first: expected a whole number.*; got -3"),
        ({"first": 2**32 - 1, "n": 2}, r"first \+ n: expected at most 2\^32 skies"),
        ({"mean": np.where(np.arange(12) == 7, -0.5, 1.0)}, r"smooth mean: .*got -0\.5 in pixel 7 \(HEALPix nside 1, "),
        ({"mean": np.where(np.arange(12) == 7, np.nan, 1.0)}, "smooth mean: .*got nan in pixel 7"),
        ({"mean": np.full(12, 2e9)}, r"smooth mean: expected at least 0 and at most 1e\+09, got 2e\+09"),
        ({"mean": np.ones(11)}, r"smooth mean: expected shape \(12,\), one value per pixel; got \(11,\)"),
        ({"expected": np.full(12, -1.0)}, "population 'gce': expected sources: expected at least 0 and finite, got -1"),
        ({"expected": np.full(12, np.nan)}, "population 'gce': expected sources: .*got nan in pixel 0"),
        ({"expected": np.full(12, np.inf)}, "population 'gce': expected sources: .*got inf in pixel 0"),
        ({"expected": np.ones(13)}, r"population 'gce': expected sources: expected shape \(12,\)"),
        ({"expected": np.full(12, 1e7)}, r"expected at most 1e\+08 sources per sky, got 1\.2e\+08"),
        ({"dnds": np.array([1.0, -1.0, 1.0])}, "population 'gce': dN/dS must not be negative or NaN, got -1 at S = 2"),
        (
            {"dnds": np.array([1.0, np.nan, 1.0])},
            "population 'gce': dN/dS must not be negative or NaN, got nan at S = 2",
        ),
        ({"dnds": np.array([np.inf, 1.0, 1.0])}, "population 'gce': infinite counts: dN/dS is infinite at S = 1"),
        ({"dnds": np.full(3, 1e308)}, "population 'gce': infinite counts: the integral of S dN/dS"),
        ({"dnds": np.array([0.0, 1.0, 0.0])}, "population 'gce': dN/dS is zero, got 12 expected sources"),
        ({"dnds": np.ones(2)}, "population 'gce': S grid and dN/dS must be two lists of one length"),
        ({"s_grid": np.array([1.0, 1.0, 2.0])}, "population 'gce': the S grid must be positive, finite and rising"),
        ({"s_grid": np.array([0.0, 1.0, 2.0])}, "population 'gce': the S grid must be positive, finite and rising"),
        ({"s_grid": np.array([1.0, 2.0, np.inf])}, "population 'gce': the S grid must be positive, finite and rising"),
        ({"s_grid": np.array([1.0, np.nan, 2.0])}, "population 'gce': the S grid must be positive, finite and rising"),
        ({"s_grid": np.array([1.0, 2.0, 2e9])}, r"population 'gce': sources of up to 2e\+09 counts"),
        ({"shares": (0.5, 0.5)}, r"population 'gce': shares: expected one number for each of 1 energy bins.*\(2,\)"),
        ({"shares": (-0.5,)}, r"population 'gce': shares: expected finite numbers of at least 0, got \[-0\.5\]"),
        ({"shares": (np.nan,)}, r"population 'gce': shares: expected finite numbers of at least 0, got \[nan\]"),
        ({"shares": (1e9,)}, r"population 'gce': sources of up to 4e\+09 counts"),
    ],
)
def test_bad_input(changes: dict[str, object], message: str) -> None:
    population = replace(
        GOOD, **{key: changes[key] for key in ("expected", "s_grid", "dnds", "shares") if key in changes}
    )
    options = {key: value for key, value in changes.items() if key in ("n", "seed", "first")}
    with pytest.raises(InputError, match=message) as error:
        SkySimulator(whole(1, psf=KING)).draw(changes.get("mean", np.ones(12)), [population], **options)
    assert "\n" not in str(error.value)


def test_the_energy_bin_of_a_bad_pixel_is_named() -> None:
    with pytest.raises(InputError, match=r"got -2 in pixel 3 \(HEALPix nside 1, galactic\), energy bin 1"):
        SkySimulator(whole(1, n_energy=2, psf=KING)).draw(np.where(np.arange(24) == 15, -2.0, 1.0), [])


def test_a_psf_wider_than_the_sphere_is_refused() -> None:
    with pytest.raises(InputError, match="psf: wider than the sphere: 68 % of the photons within"):
        SkySimulator(whole(1, psf=GaussianPSF(sigma_deg=300.0)))


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32])
def test_whole_numbers_of_numpy_will_do(kind: type) -> None:
    simulator = SkySimulator(whole(1, psf=KING))
    expected = simulator.draw(np.ones(12), [GOOD], n=2, seed=3, first=1)
    np.testing.assert_array_equal(simulator.draw(np.ones(12), [GOOD], n=kind(2), seed=kind(3), first=kind(1)), expected)
