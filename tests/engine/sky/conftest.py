"""A small dataset in a folder: nside 8, one or two energy bins, any part of which a test may spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.errors import InputError
from tests.conftest import absent

NSIDE = 8
N_PIX = 12 * NSIDE**2

MANIFEST = """
name = "small"
nside = 8
energy_edges_gev = [{edges}]
counts = {{ file = "counts.npy" }}
exposure = {{ file = "exposure.npy" }}
psf = {{ kind = "gaussian", sigma_deg = 0.5 }}
{extra}
"""


def glow(name: str = "glow", **settings: object) -> str:
    """A template of the manifest."""
    values = {"file": "glow.fits", "unit": "intensity", **settings}
    return f"[templates.{name}]\n" + "".join(f"{key} = {value!r}\n" for key, value in values.items())


def instead(folder: Path, name: str, entry: str) -> Path:
    """Describe the counts or the exposure of the small dataset otherwise."""
    path = folder / "dataset.toml"
    text = path.read_text()
    assert f'{name} = {{ file = "{name}.npy" }}' in text
    path.write_text(text.replace(f'{name} = {{ file = "{name}.npy" }}', f"{name} = {{ {entry} }}"))
    return folder


def refusal(action: Callable[[], object]) -> str:
    """The one line with which bad input is refused."""
    with pytest.raises(InputError, match=r"\S") as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def small_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the dataset; `extra` goes to the manifest."""

    def write(extra: str = "", n_energy: int = 1) -> Path:
        folder = tmp_path / "small"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(7)
        edges = ", ".join(str(2.0**e) for e in range(n_energy + 1))
        np.save(folder / "counts.npy", rng.poisson(3.0, (n_energy, N_PIX)))
        np.save(folder / "exposure.npy", rng.uniform(1e11, 2e11, (n_energy, N_PIX)))
        (folder / "dataset.toml").write_text(MANIFEST.format(edges=edges, extra=extra))
        return folder

    return write


@pytest.fixture
def write_table() -> Callable[..., None]:
    """Write a HEALPix table of one row per pixel; cards that are None are left out, more extensions follow."""

    def write(path: Path, columns: dict[str, np.ndarray], *more: fits.BinTableHDU, **cards: object) -> None:
        units = {name: cards.pop(f"unit_{name}", None) for name in columns}
        kinds = {name: "J" if np.asarray(values).dtype.kind == "i" else "D" for name, values in columns.items()}
        parts = [fits.Column(n, kinds[n], unit=units[n], array=np.asarray(values)) for n, values in columns.items()]
        table = fits.BinTableHDU.from_columns(parts)
        known = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "G", **cards}
        table.header.update({key: value for key, value in known.items() if value is not None})
        fits.HDUList([fits.PrimaryHDU(), table, *more]).writeto(path, overwrite=True, output_verify="ignore")

    return write


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of one's own, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def products_dir(fermi_dir: Path) -> Path:
    """The folder of public Fermi-LAT products, beside that of the maps: cubes as the mission's tools write them."""
    place = fermi_dir.resolve().parent / "products"
    if not place.is_dir():
        absent("Fermi-LAT products", "GAMMASKY_REQUIRE_DATA")
    return place
