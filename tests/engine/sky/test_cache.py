"""What is kept between runs: by what it follows from, the code included, and only where a folder takes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.sky import cache
from gammasky.engine.sky.cache import code_version, remembered


def test_another_code_makes_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"x": np.array([float(len(made))])}

    for expected, version in ((1.0, "a"), (1.0, "a"), (2.0, "b"), (1.0, "a")):
        monkeypatch.setattr(cache, "code_version", lambda v=version: v)
        assert remembered("numbers", {"n": 3}, make, folder=tmp_path)["x"] == expected
    assert remembered("numbers", {"n": 4}, make, folder=tmp_path)["x"] == 3.0


def test_the_version_follows_the_source_of_every_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sky/cache.py", "sky/demo/lines.py", "kernels/op.py", "model/spec.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "sky/cache.py"))
    version = code_version.__wrapped__
    first = version()
    (tmp_path / "model/spec.py").write_text("x = 2\n")  # above this layer
    assert version() == first
    seen = {first}
    for name in ("sky/cache.py", "sky/demo/lines.py", "kernels/op.py"):
        (tmp_path / name).write_text("x = 2\n")
        seen.add(version())
    assert len(seen) == 4


def test_without_a_home(small_folder: Callable[..., Path]) -> None:
    """One line on stderr, however much is not kept; images, catalogues and pixel fractions as ever."""
    folder = small_folder(
        '[templates.a]\nfile = "a.fits"\nprojection = "car"\nunit = "intensity"\n'
        '[templates.b]\nfile = "b.fits"\nprojection = "car"\nunit = "intensity"\n'
        '[sources.c]\nfile = "c.csv"\nlon = "RA"\nlat = "DEC"\n'
    )
    header = fits.Header({"CTYPE1": "GLON-CAR", "CDELT1": -9.0, "CTYPE2": "GLAT-CAR", "CDELT2": 9.0, "CRPIX2": 10.5})
    for name in "ab":
        fits.writeto(folder / f"{name}.fits", np.ones((20, 40)) * ord(name), header)
    (folder / "c.csv").write_text("RA,DEC\n266.4,-28.9\n")
    code = (
        "from gammasky.engine.runtime import configure\n"
        "from gammasky.engine.sky import Dataset, pixel_fractions\n"
        "configure()\n"
        f"d = Dataset.open({str(folder)!r})\n"
        "print(d.template('a').mean(), d.template('b').mean(), len(d.source_positions('c')))\n"
        "print(len(pixel_fractions(d.psf, 8, n_positions=64, n_photons=50).weight) > 1)\n"
    )
    environment = {"HOME": "/dev/null", "PYTHONPATH": ":".join(sys.path), "NUMBA_CACHE_DIR": str(folder)}
    line = [sys.executable, "-P", "-c", code]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["97.0", "98.0", "1", "True"]
    assert done.stderr.count("\n") == 1
    assert "nothing is kept between runs in /dev/null/.cache/gammasky (Not a directory); set XDG" in done.stderr
