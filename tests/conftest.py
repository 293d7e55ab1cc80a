"""Shared fixtures: double precision for JAX, and the Fermi-LAT files where they are present."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)

FERMI_PLACES = (os.environ.get("GAMMASKY_DATA", ""), str(Path(__file__).parents[2] / "shared" / "fermi"))


def absent(what: str, variable: str) -> None:
    """Skip a test for lack of `what`; fail it where `variable` says that it must be there."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{what} not found, and {variable}=1")
    pytest.skip(f"{what} not found")


@pytest.fixture(scope="session")
def fermi_dir() -> Path:
    """The folder of the public Fermi-LAT files."""
    for place in FERMI_PLACES:
        if place and (Path(place) / "SHA256SUMS").is_file():
            return Path(place)
    absent("Fermi-LAT data", "GAMMASKY_REQUIRE_DATA")
    raise AssertionError("unreachable")
